"""Which box an anchor or a proposal stands for, and which of them a step of training looks at.

B images, G boxes (padded), N anchors or proposals.
Source: Ren et al., Faster R-CNN (2015), section 3.1.2; Girshick, Fast R-CNN (2015), section 2.3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from deeprob.models.detection.assignment import BACKGROUND, IGNORED, Truth
from deeprob.models.detection.boxes import area, intersection, iou


class Sample(NamedTuple):
    """Some of the N, as indices into (B, N): positives first, then negatives. Each int64 (K,)."""

    image: Tensor
    row: Tensor
    is_positive: Tensor


def match(truth: Truth, boxes: Tensor, low: float, high: float, keep_best: bool) -> Tensor:
    """Return for each of boxes (N, 4) or (B, N, 4) a box of the truth, BACKGROUND or IGNORED: int64 (B, N).

    It is the box with the largest IoU, where that is at least `high`; below `low` there is none, and between
    them nothing is asked. keep_best: the boxes that overlap one of the truth most keep theirs in any case,
    however little that is.
    """
    overlap = iou(truth.boxes[:, :, None], boxes[:, None] if boxes.dim() == 3 else boxes)
    overlap = overlap.masked_fill(~truth.present[..., None], -1)
    best, winner = overlap.max(1)
    matched = winner.masked_fill(best < high, IGNORED).masked_fill(best < low, BACKGROUND)
    if not keep_best:
        return matched
    highest = overlap.amax(2, keepdim=True)
    kept = ((overlap == highest) & (highest > 0)).any(1)
    return torch.where(kept, winner, matched)


def ignore_crowds(matched: Tensor, boxes: Tensor, crowds: list[Tensor]) -> Tensor:
    """Ask nothing of what is background and lies at least half in a crowd. boxes: (N, 4) or (B, N, 4)."""
    if not any(len(regions) for regions in crowds):
        return matched
    matched = matched.clone()
    for i, regions in enumerate(crowds):
        own = boxes[i] if boxes.dim() == 3 else boxes
        inside = (intersection(own, regions[:, None]) >= area(own) / 2).any(0)
        matched[i][inside & (matched[i] == BACKGROUND)] = IGNORED
    return matched


def sample(matched: Tensor, number: int, positive_share: float) -> Sample:
    """Draw at most `number` an image at random, of them at most a share of positives; negatives fill up.

    Where negatives are few, there are fewer in all.
    """
    rank = torch.rand(matched.shape, device=matched.device)
    positive, negative = matched >= 0, matched == BACKGROUND
    positive = _first(rank, positive, positive.sum(1), int(number * positive_share))
    negative = _first(rank, negative, number - positive.sum(1), number)
    parts = [chosen.nonzero(as_tuple=True) for chosen in (positive, negative)]
    image, index = (torch.cat(axis) for axis in zip(*parts, strict=True))
    is_positive = torch.arange(len(image), device=image.device) < len(parts[0][0])
    return Sample(image, index, is_positive)


def _first(rank: Tensor, allowed: Tensor, count: Tensor, most: int) -> Tensor:
    """Mark the `count` (B,) lowest ranks, at most `most`, of each row of (B, N) among what is allowed."""
    lowest, place = rank.masked_fill(~allowed, torch.inf).topk(min(most, rank.shape[1]), largest=False)
    order = torch.arange(lowest.shape[1], device=rank.device)
    taken = (lowest < torch.inf) & (order < count[:, None])
    return torch.zeros_like(allowed).scatter_(1, place, taken)
