"""Areas and overlaps of boxes (x1, y1, x2, y2), where nothing is differentiated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def area(boxes: Tensor) -> Tensor:
    """Area (...) of boxes (..., 4), in square pixels; 0 where a box is turned inside out."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """Common area (...) of boxes a and b (..., 4), which broadcast."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    return (high - low).clamp_min_(0).prod(-1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (...) of boxes a and b (..., 4), which broadcast; 0 of two empty boxes.

    Every pair: iou(a[:, None], b[None]).
    """
    common = intersection(a, b)
    union = area(a) + area(b) - common
    return common / union.clamp_min_(torch.finfo(union.dtype).tiny)


def clip(boxes: Tensor, height: float, width: float) -> Tensor:
    """Boxes (..., 4) cut to an image of height x width pixels, which begins at -1/2."""
    limit = boxes.new_tensor([width, height, width, height]) - 0.5
    return torch.minimum(boxes.clamp_min(-0.5), limit)


def deltas_of(boxes: Tensor, wanted: Tensor, weights: Sequence[float]) -> Tensor:
    """Return deltas (..., 4) that lead from boxes to `wanted` ones: the inverse of layers.deltas_to_boxes."""
    size, new_size = ((b[..., 2:] - b[..., :2]).clamp_min(1e-6) for b in (boxes, wanted))
    shift = (wanted[..., :2] + wanted[..., 2:] - boxes[..., :2] - boxes[..., 2:]) / (2 * size)
    return torch.cat([shift, (new_size / size).log()], -1) * boxes.new_tensor(weights)
