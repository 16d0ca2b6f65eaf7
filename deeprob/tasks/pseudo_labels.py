"""Predictions as labels: what tasks that are trained on their own predictions have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deeprob.errors import InputError
from deeprob.tasks.base import PseudoLabelled


def label_by_class(
    logits: Tensor,
    batch: Any,
    threshold: float,
    soft: bool,
    aligned: Callable[[Tensor], Tensor],
    ignored: int,
) -> PseudoLabelled:
    """Label a batch by logits (B, C), or (B, C, ...) where each place of a sample has a class.

    soft: the labels are the probabilities (B, C), and all of them count. Else they are the classes of a
    probability of `threshold` at least, and `ignored` where there is none.
    """
    p = aligned(logits.float().softmax(1))
    confidence, found = p.max(1)
    confident = torch.ones_like(found, dtype=torch.bool) if soft else confidence >= threshold
    labels = p if soft else found.masked_fill(~confident, ignored)
    known = batch.labels.shape == found.shape
    right = (found == batch.labels) & confident if known else torch.full_like(confidence, torch.nan)
    return PseudoLabelled(batch._replace(labels=labels), confident.float().mean(), right.float().mean())


def check_places(weak: Any, strong: Any, soft: bool) -> None:
    """Raise InputError where labels of one view would lie elsewhere in the other, or cannot be soft."""
    if soft:
        raise InputError("labels with a place cannot be soft", fix="set objective.soft=false")
    if not torch.equal(weak.matrices, strong.matrices):
        raise InputError(
            "the two views move images differently, so that labels of one are wrong in the other",
            where="objective.weak and objective.strong",
            expected="the same flip, translate, zoom, aspect, rotate, crop, scale and mosaic in both",
        )
