"""What label maps are trained for: a sum of named terms, over the pixels that have a label.

    cross_entropy   mean of - log p of the right class; with class weights, and of hard pixels alone (OHEM)
    dice            mean over classes of 1 - Dice, the pixels of the batch together: layers/losses/dice.py
    lovasz          mean over the batch's classes of 1 - IoU, made smooth: layers/losses/lovasz.py
    auxiliary       the cross-entropy of an auxiliary head's logits, where the network has one

Source of OHEM: Shrivastava et al., Training region-based object detectors with online hard example mining
(2016), for pixels as in Wu et al., Bridging category-level and instance-level semantic segmentation (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deeprob import layers
from deeprob.errors import InputError
from deeprob.tasks.base import Loss, Task
from deeprob.tasks.segmentation.labels import IGNORED, logits_of


class LabelMapLoss:
    """An objective: the sum of the terms above, each times its weight; a weight of 0 switches a term off.

    class_weights: of each class, the background first; empty: all alike.
    hard: pixels whose right class has at least this probability do not count in the cross-entropy, 1 for
    all; but at least `hard_share` of the labelled pixels do, the hardest. label_smoothing: of the
    cross-entropy.
    Raises InputError where a value cannot be used.
    """

    def __init__(
        self,
        cross_entropy: float = 1.0,
        dice: float = 0.0,
        lovasz: float = 0.0,
        auxiliary: float = 0.4,
        class_weights: Sequence[float] = (),
        hard: float = 1.0,
        hard_share: float = 0.0625,
        label_smoothing: float = 0.0,
    ) -> None:
        weights = {"cross_entropy": cross_entropy, "dice": dice, "lovasz": lovasz, "auxiliary": auxiliary}
        for name, value, most in (
            *((name, weight, float("inf")) for name, weight in weights.items()),
            ("hard", hard, 1.0),
            ("hard_share", hard_share, 1.0),
            ("label_smoothing", label_smoothing, 0.999),
            *(("class_weights", weight, float("inf")) for weight in class_weights),
        ):
            if not 0 <= value <= most:
                raise InputError(f"objective.{name} is {value}", expected=f"0 to {most:g}")
        if not cross_entropy + dice + lovasz:
            raise InputError("every term of the loss is off", where="objective", fix="set cross_entropy=1")
        self.weights, self.class_weights = weights, tuple(class_weights)
        self.hard, self.hard_share, self.label_smoothing = hard, hard_share, label_smoothing

    def __call__(self, task: Task, model: nn.Module, batch: Any) -> Loss:
        """Compute the loss of a batch with images and labels. Raises InputError for another task's."""
        logits, auxiliary = logits_of(model, batch)
        labels = batch.labels
        if self.class_weights and len(self.class_weights) != logits.shape[1]:
            raise InputError(
                f"{len(self.class_weights)} objective.class_weights",
                expected=f"{logits.shape[1]}, of {', '.join(task.data.classes)}",
            )
        terms: dict[str, Tensor] = {}
        if self.weights["cross_entropy"]:
            terms["cross_entropy"] = self._cross_entropy(logits, labels)
        if self.weights["dice"]:
            terms["dice"] = dice(logits, labels)
        if self.weights["lovasz"]:
            terms["lovasz"] = layers.lovasz_softmax_loss(layers.softmax(logits.float(), 1), labels, IGNORED)
        if auxiliary is not None and self.weights["auxiliary"]:
            terms["auxiliary"] = self._cross_entropy(auxiliary, labels)
        total: Tensor = sum(self.weights[name] * term for name, term in terms.items())  # type: ignore[assignment]
        named = {name: term.detach() for name, term in terms.items()} if len(terms) > 1 else {}
        return Loss(total, named)

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over the pixels that count, by class weights where there are some."""
        weight = logits.new_tensor(self.class_weights) if self.class_weights else None
        smoothing = self.label_smoothing if torch.is_grad_enabled() else 0.0  # evaluate the plain loss
        if self.hard < 1 and torch.is_grad_enabled():
            labels = hard_pixels(logits, labels, self.hard, self.hard_share)
        known = labels != IGNORED
        total = layers.cross_entropy(logits, labels, weight, IGNORED, "sum", smoothing)
        counted = known.sum() if weight is None else (weight[torch.where(known, labels, 0)] * known).sum()
        return total / counted.clamp_min(1e-6 if weight is not None else 1)


def hard_pixels(logits: Tensor, labels: Tensor, probability: float, share: float) -> Tensor:
    """Labels (B, H, W) with IGNORED where the right class has at least a probability.

    At least `share` of the labelled pixels stay, those of the largest losses.
    """
    with torch.no_grad():
        p = (
            layers.softmax(logits.float(), 1)
            .gather(1, labels.clamp_max(logits.shape[1] - 1)[:, None])
            .squeeze(1)
        )
        known = labels != IGNORED
        count = int(known.sum())
        if not count:
            return labels
        kept = max(1, round(share * count))
        limit = max(probability, float(p[known].kthvalue(kept).values))
        return torch.where(known & (p <= limit), labels, IGNORED)


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """The soft Dice loss, the mean over classes; pixels of the batch together, those ignored nowhere."""
    known = labels != IGNORED
    p = layers.softmax(logits.float(), 1)
    p = layers.mul(p, known[:, None].to(p.dtype))
    truth = torch.zeros_like(p).scatter_(
        1, torch.where(known, labels, 0)[:, None], known[:, None].to(p.dtype)
    )
    return layers.dice_loss(p, truth, dim=(0, 2, 3))
