"""Objectives with labels: the task's own loss, or one of logits and a class for each sample or place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deeprob.errors import InputError
from deeprob.layers import cross_entropy, multi_margin_loss
from deeprob.tasks.base import Loss, Task
from deeprob.tasks.classification.task import logits_of, with_accuracy
from deeprob.training.objectives.base import Objective


class Supervised(Objective):
    """The task's own loss."""

    def forward(self, task: Task, model: nn.Module, batch: Any) -> Loss:
        return task.loss(model, batch)


class CrossEntropy(Objective):
    """Softmax cross-entropy, mean over the batch; label_smoothing spreads that mass over all classes."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing: expected 0 <= value < 1, got {label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, task: Task, model: nn.Module, batch: Any) -> Loss:
        labels = _labels(batch)
        logits = logits_of(model, batch)
        smoothing = self.label_smoothing if torch.is_grad_enabled() else 0.0  # evaluate the plain loss
        return with_accuracy(cross_entropy(logits, labels, label_smoothing=smoothing), logits, labels)


class Hinge(Objective):
    """Multiclass SVM: the mean over wrong classes of max(0, margin + s_j - s_y), mean over the batch."""

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, task: Task, model: nn.Module, batch: Any) -> Loss:
        labels = _labels(batch)
        if labels.is_floating_point():
            raise InputError(
                "the hinge loss does not support mixed labels",
                fix="set data.augmentation.mixup=0 and cutmix=0",
            )
        logits = logits_of(model, batch)
        return with_accuracy(multi_margin_loss(logits, labels, margin=self.margin), logits, labels)


def _labels(batch: Any) -> Tensor:
    """The labels of a batch. Raises InputError for a task that has not one for each sample or place."""
    labels = getattr(batch, "labels", None)
    if not isinstance(labels, Tensor):
        raise InputError(
            "this objective takes a class for each sample or place, and these samples have other labels",
            fix="set objective=supervised, the task's own loss",
        )
    return labels
