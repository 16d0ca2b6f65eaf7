"""Objectives: what a batch is trained for. An objective turns (model, batch) into a loss."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from deeprob.errors import InputError
from deeprob.layers import cross_entropy, multi_margin_loss


class Outcome(NamedTuple):
    """Result for a batch.

    loss: scalar to descend on. logits: (N, C) or, where each of P places has a label, (N, C, P).
    num_correct: samples whose largest logit is the label's; with P labels a sample, the sum of their shares.
    """

    loss: Tensor
    logits: Tensor
    num_correct: Tensor


class Objective(Protocol):
    """What the training module asks of an objective."""

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Outcome: ...


def _check_labels(labels: object) -> None:
    """Raise InputError for a view that gives several labels a sample, as boxes are."""
    if not isinstance(labels, Tensor):
        raise InputError(
            "this objective takes a class for each sample or place, and the view gives several boxes a frame",
            fix="choose data/view=classification, or a view of places or points",
        )


def _outcome(loss: Tensor, logits: Tensor, labels: Tensor) -> Outcome:
    if labels.is_floating_point():  # shares of each class
        labels = labels.argmax(1)
    correct = (logits.detach().argmax(1) == labels).float()
    return Outcome(loss, logits, correct.flatten(1).mean(1).sum() if correct.dim() > 1 else correct.sum())


class CrossEntropy:
    """Softmax cross-entropy, mean over the batch; label_smoothing spreads that mass over all classes."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing: expected 0 <= value < 1, got {label_smoothing}")
        self.label_smoothing = label_smoothing

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Outcome:
        _check_labels(labels)
        logits = model(images)
        smoothing = self.label_smoothing if torch.is_grad_enabled() else 0.0  # evaluate the plain loss
        return _outcome(cross_entropy(logits, labels, label_smoothing=smoothing), logits, labels)


class Hinge:
    """Multiclass SVM: the mean over wrong classes of max(0, margin + s_j - s_y), mean over the batch."""

    def __init__(self, margin: float = 1.0) -> None:
        self.margin = margin

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Outcome:
        _check_labels(labels)
        if labels.is_floating_point():
            raise InputError(
                "the hinge loss knows no mixed labels", fix="set data.augmentation.mixup=0 and cutmix=0"
            )
        logits = model(images)
        return _outcome(multi_margin_loss(logits, labels, margin=self.margin), logits, labels)
