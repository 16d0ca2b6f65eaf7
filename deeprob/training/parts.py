"""All that one training is made of, as objects. A config is turned into them once, at the door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.schema.models import NetworkSettings
from deeprob.schema.training import TrainerSettings
from deeprob.tasks.base import Loss, Task
from deeprob.training.distributed import synchronise_batch_norm, world_size
from deeprob.training.objectives import Objective, Supervised
from deeprob.training.objectives.base import OfFunction
from deeprob.training.schedules import Constant
from deeprob.training.weights import freeze

if TYPE_CHECKING:  # Lightning takes seconds to import, and only a training needs it
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import Logger

    from deeprob.training.module import OptimizerFactory, PerceptionModule


@dataclass(frozen=True)
class Parts:
    """What a training needs. `experiment.assemble` makes it of a config; a program can make it itself.

    data: prepared. optimizer: parameter groups -> optimiser. schedule,
    backbone_lr_factor, decay_norm_and_bias: as of PerceptionModule. trainer: how long and on what. network:
    the weights it starts from, those that stay, and whether it is compiled. callbacks: Lightning's, beside
    those of every training.
    logger: makes one for a run folder, beside metrics.jsonl.
    """

    data: PerceptionData
    task: Task
    model: nn.Module
    objective: Objective | Callable[[Task, nn.Module, Any], Loss] = field(default_factory=Supervised)
    optimizer: OptimizerFactory = torch.optim.AdamW
    schedule: Callable[[float], float] = field(default_factory=Constant)
    decay_norm_and_bias: bool = False
    backbone_lr_factor: float = 1.0
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    callbacks: Sequence[pl.Callback] = ()
    logger: Callable[[Run], Logger] | None = None
    seed: int = 0

    @property
    def monitor(self) -> str:
        """The metric by which the best checkpoint is chosen: trainer.monitor, or the task's headline."""
        return self.trainer.monitor or f"val/{self.task.headline}"

    def module(self) -> PerceptionModule:
        """The Lightning module that trains the model. Raises InputError for what it cannot."""
        from deeprob.training.module import PerceptionModule

        if self.backbone_lr_factor <= 0:
            raise InputError(
                f"optim.backbone_lr_factor is {self.backbone_lr_factor}",
                expected="more than 0",
                fix="model.freeze holds weights where they are",
            )
        task, objective = self.task, self.objective
        if not isinstance(objective, Objective):
            objective = OfFunction(objective)
        objective.attach(task, self.model)
        if self.data is not None:
            self.data.needs_labels = objective.needs_labels
            self.data.arrange = lambda collate: objective.collate(task, collate)
        memory_format = memory_format_of(self.trainer)
        model = arrange(self.model, memory_format)
        freeze(model, self.network.freeze)
        if self.trainer.sync_batch_norm and world_size(self.trainer) > 1:
            model = synchronise_batch_norm(model)
        if self.network.compile:
            # In place: names stay. A graph for each batch size: training has few; one for all can fail.
            model.compile(dynamic=False)
        return PerceptionModule(
            task,
            model,
            objective=objective,
            optimizer=self.optimizer,
            schedule=self.schedule,
            decay_norm_and_bias=self.decay_norm_and_bias,
            backbone_lr_factor=self.backbone_lr_factor,
            memory_format=memory_format,
        )


def device_of(trainer: TrainerSettings) -> torch.device:
    """Where a single process computes."""
    wanted = trainer.accelerator in ("auto", "gpu", "cuda")
    return torch.device("cuda" if wanted and torch.cuda.is_available() else "cpu")


def memory_format_of(trainer: TrainerSettings) -> torch.memory_format:
    """How images and kernels lie in memory."""
    return torch.channels_last if trainer.channels_last else torch.contiguous_format


def arrange(model: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """The same model, its kernels laid out in memory as given."""
    return model.to(memory_format=memory_format)  # type: ignore[call-overload,no-any-return]
