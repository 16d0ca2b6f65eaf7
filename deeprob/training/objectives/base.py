"""What training asks of an objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import nn

from deeprob.data.batches.batch import Collate
from deeprob.tasks.base import Loss, Task


class Objective(nn.Module):
    """Turns (task, model, batch) into a loss. What it learns beside the model is its own parameters.

    needs_labels: whether batches are made of labelled samples; else of all training samples.
    """

    needs_labels: ClassVar[bool] = True
    strategy: ClassVar[str] = "Supervised"
    """What such a training is called, and in a sentence how it is done: for a project's card."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, task: Task, model: nn.Module, batch: Any) -> Loss:
        """The loss of a training batch."""
        raise TypeError(f"{type(self).__name__} has no forward(task, model, batch)")

    def attach(self, task: Task, model: nn.Module) -> None:
        """Make what is learned beside the model. Called once, before its weights are loaded or trained."""

    def collate(self, task: Task, labelled: Collate) -> Collate:
        """What makes training batches; labelled: what makes those of samples with their labels."""
        return labelled

    def validation(self, task: Task, model: nn.Module, batch: Any) -> Loss | None:
        """The loss of a batch of a split as it is, with its labels; None where there is none."""
        return self(task, model, batch)  # type: ignore[no-any-return]

    def remark(self, means: Mapping[str, float]) -> str | None:
        """One line to print after an epoch, by the means of the loss's terms; None for nothing."""
        return None


class OfFunction(Objective):
    """A function (task, model, batch) -> Loss as an objective: a task may have losses of its own."""

    def __init__(self, function: Callable[[Task, nn.Module, Any], Loss]) -> None:
        super().__init__()
        self.function = function

    def forward(self, task: Task, model: nn.Module, batch: Any) -> Loss:
        return self.function(task, model, batch)
