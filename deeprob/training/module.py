"""The Lightning module: one objective, one model, an optimiser and a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from deeprob.data.loader import Batch
from deeprob.training.finite import NonFiniteError, first_non_finite_gradient, first_non_finite_output
from deeprob.training.objectives import Objective, Outcome

OptimizerFactory = Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer]


class PerceptionModule(LightningModule):
    """Trains `model` for `objective`.

    optimizer: parameter groups -> optimiser. schedule: progress in [0, 1] -> factor on its learning rate.
    decay_norm_and_bias: whether weight decay also pulls on biases and norm parameters (vectors), not only
        on weights (matrices and kernels).
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: OptimizerFactory,
        schedule: Callable[[float], float],
        decay_norm_and_bias: bool = False,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.decay_norm_and_bias = decay_norm_and_bias
        self.memory_format = memory_format

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)  # type: ignore[no-any-return]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        outcome = self._step(batch, "train")
        if not torch.isfinite(outcome.loss):
            layer = first_non_finite_output(self.model, batch.images)
            raise NonFiniteError(self.global_step, f"the output of {layer}" if layer else "the loss")
        return outcome.loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._step(batch, "val")

    def _step(self, batch: Batch, stage: str) -> Outcome:
        images = batch.images.contiguous(memory_format=self.memory_format)
        outcome: Outcome = self.objective(self.model, images, batch.labels)
        size = len(batch.labels)
        training = stage == "train"
        self.log(f"{stage}/loss", outcome.loss.detach(), on_step=training, on_epoch=True, batch_size=size)
        accuracy = outcome.num_correct / size
        self.log(
            f"{stage}/top1_accuracy", accuracy, on_step=False, on_epoch=True, prog_bar=True, batch_size=size
        )
        return outcome

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.log("train/gradient_norm", norm, on_step=True, on_epoch=False)
        if not torch.isfinite(norm):
            name = first_non_finite_gradient(self.model)
            raise NonFiniteError(self.global_step, f"the gradient of {name}")

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self._parameter_groups())
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.schedule(min(step / max(steps - 1, 1), 1.0))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        trained = [p for p in self.parameters() if p.requires_grad]
        if self.decay_norm_and_bias:
            return [{"params": trained}]
        weights = [p for p in trained if p.dim() > 1]
        vectors = [p for p in trained if p.dim() <= 1]
        groups: list[dict[str, Any]] = [{"params": weights}, {"params": vectors, "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]
