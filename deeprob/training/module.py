"""The Lightning module: one task, one objective, one model, an optimiser and a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from deeprob.data.batches.batch import AnyBatch, map_tensors
from deeprob.data.batches.views import inputs_of
from deeprob.tasks.base import Loss, Meter, OncePerInput, Task
from deeprob.training.distributed import merged
from deeprob.training.finite import NonFiniteError, first_non_finite_gradient, first_non_finite_output
from deeprob.training.groups import parameter_groups
from deeprob.training.objectives.base import Objective
from deeprob.training.totals import Totals
from deeprob.training.weights import keep_frozen_statistics

if TYPE_CHECKING:
    from typing_extensions import Self

OptimizerFactory = Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer]


class PerceptionModule(LightningModule):
    """Trains `model` for `objective`, and scores it on `task` after each epoch.

    optimizer: parameter groups -> optimiser. schedule: progress in [0, 1] -> factor on its learning rate.
    decay_norm_and_bias: whether weight decay also pulls on biases and norm parameters (vectors), not only
        on weights (matrices and kernels).
    backbone_lr_factor: on the learning rate of everything but the model's head.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        objective: Objective,
        optimizer: OptimizerFactory,
        schedule: Callable[[float], float],
        decay_norm_and_bias: bool = False,
        backbone_lr_factor: float = 1.0,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        super().__init__()
        self.task = task
        self.model = model
        self.objective = objective
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.decay_norm_and_bias = decay_norm_and_bias
        self.backbone_lr_factor = backbone_lr_factor
        self.memory_format = memory_format
        self._totals = {"train": Totals(), "val": Totals()}
        self._meter: Meter | None = None
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        keep_frozen_statistics(self.model)
        return self

    def training_step(self, batch: AnyBatch, batch_idx: int) -> Tensor:
        if batch_idx == 0:
            self._totals["train"].reset()
        batch = self._arranged(batch)
        loss: Loss = self.objective(self.task, self.model, batch)
        self._totals["train"].add(loss, len(batch.indices))
        if not torch.isfinite(loss.total):
            layer = first_non_finite_output(self.model, inputs_of(batch))
            raise NonFiniteError(self.global_step, f"the output of {layer}" if layer else _bad_term(loss))
        if self._is_logged_step:
            total = loss.total.detach()
            self.log("train/loss_step", total, on_step=True, on_epoch=False, sync_dist=True)
        return loss.total + self._penalty()

    def _penalty(self) -> Tensor | float:
        """What the model itself adds to the loss of its last forward: a model may have a method `penalty`."""
        penalty: Callable[[], Tensor] | None = getattr(self.model, "penalty", None)
        return 0.0 if penalty is None else penalty()

    def validation_step(self, batch: AnyBatch, batch_idx: int) -> None:
        if not len(batch.indices):  # another process may have the last samples
            return
        batch = self._arranged(batch)
        model: Any = OncePerInput(self.model)
        loss = self.objective.validation(self.task, model, batch)
        if loss is not None:
            self._totals["val"].add(loss, len(batch.indices))
        loaders: Any = self.trainer.val_dataloaders
        samples = loaders.samples
        if self._meter is None:
            self._meter = self.task.meter(samples)
        self._meter.update(self.task.predict(model, batch), self.task.truths(samples, batch))

    def _arranged(self, batch: AnyBatch) -> AnyBatch:
        """The batch, its images laid out in memory as the model's kernels are."""
        if inputs_of(batch).dim() != 4:
            return batch
        shape = inputs_of(batch).shape[1:]

        def arranged(t: Tensor) -> Tensor:
            return t.contiguous(memory_format=self.memory_format) if t.shape[1:] == shape else t

        return map_tensors(batch, arranged)

    @property
    def _is_logged_step(self) -> bool:
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return (self.global_step + 1) % every == 0

    def on_train_epoch_end(self) -> None:
        loss, terms = self._totals["train"].means(self.trainer.strategy)
        self.log("train/loss_epoch", loss)
        for name, value in terms.items():
            self.log(f"train/{name}", value, prog_bar=name == self.task.headline)
        remark = self.objective.remark({name: float(value) for name, value in terms.items()})
        if remark is not None and self.trainer.is_global_zero:
            print(remark, flush=True)

    def on_validation_epoch_start(self) -> None:
        self._totals["val"].reset()
        self._meter = None

    def on_validation_epoch_end(self) -> None:
        if self._totals["val"].sums is not None:
            loss, _ = self._totals["val"].means(self.trainer.strategy)
            self.log("val/loss", loss)
        scores = merged(self._meter, self.trainer.world_size).scores()
        values = dict(zip(scores.names, scores.value.tolist(), strict=True))
        for name, value in values.items():
            self.log(f"val/{name}", value, prog_bar=name == self.task.headline)
        monitored = {getattr(callback, "monitor", None) for callback in self.trainer.callbacks}  # type: ignore[attr-defined]
        for earlier, name in self.task.earlier_names.items():
            if f"val/{earlier}" in monitored:  # by a run that an earlier version began
                self.log(f"val/{earlier}", values[name])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the sums of a running epoch: a run cut off in the middle of it reports the same means."""
        checkpoint["train_totals"] = self._totals["train"].gathered(self.trainer.strategy)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        rows = checkpoint.get("train_totals")
        rows = None if rows is None else rows.to(self.device)
        self._totals["train"].restore(rows, self.trainer.global_rank, self.trainer.world_size)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self._is_logged_step:
            self.log("train/gradient_norm", norm, on_step=True, on_epoch=False)
        if not torch.isfinite(norm):
            name = first_non_finite_gradient(self.model)
            raise NonFiniteError(self.global_step, f"the gradient of {name}")

    def configure_optimizers(self) -> Any:
        groups = parameter_groups(self, self.model, self.decay_norm_and_bias, self.backbone_lr_factor)
        optimizer = self.make_optimizer(groups)
        for group in optimizer.param_groups:
            group["lr"] *= group.pop("lr_factor", 1.0)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.schedule(min(step / max(steps - 1, 1), 1.0))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _bad_term(loss: Loss) -> str:
    """Name the first term of a loss that is not finite, or the loss itself."""
    bad = [name for name, value in loss.terms.items() if not torch.isfinite(value).all()]
    return f"the loss term {bad[0]}" if bad else "the loss"
