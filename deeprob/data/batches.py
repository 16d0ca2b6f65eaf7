"""One step's samples, by task. The first field is what the model takes; all have labels and indices.

images: float32 (B, 3, H, W), normalised; crops may have two channels more, the places of their pixels.
indices: int64 (B,), positions in the split.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Images of one class each.

    labels: int64 (B,); where images were mixed, the share of each class, float32 (B, C).
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


class PointBatch(NamedTuple):
    """Point clouds. points: float32 (B, P, 3). labels: int64 (B,) of clouds, or (B, P) of their points."""

    points: Tensor
    labels: Tensor
    indices: Tensor


class DetectionBatch(NamedTuple):
    """Images with boxes.

    boxes: for each image float32 (n, 4), left, top, right, bottom in pixels. labels: for each int64 (n,).
    """

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    indices: Tensor


class SegmentationBatch(NamedTuple):
    """Images with a class for each pixel. labels: int64 (B, H, W), 0 is background, class i is i + 1."""

    images: Tensor
    labels: Tensor
    indices: Tensor


class PoseBatch(NamedTuple):
    """Crops of one object each. labels: int64 (B,). K: float32 (B, 3, 3). T_cam_obj: float32 (B, 4, 4)."""

    images: Tensor
    labels: Tensor
    K: Tensor
    T_cam_obj: Tensor
    indices: Tensor


AnyBatch: TypeAlias = Batch | PointBatch | DetectionBatch | SegmentationBatch | PoseBatch

Cut: TypeAlias = Callable[[Any, Tensor, torch.Generator], AnyBatch]
"""Makes the batch of some samples: (split, int64 indices (B,), generator of every random number)."""


def map_tensors(batch: AnyBatch, change: Callable[[Tensor], Tensor]) -> AnyBatch:
    """Change every tensor of a batch."""
    changed: list[Any] = [[change(t) for t in f] if isinstance(f, list) else change(f) for f in batch]
    return type(batch)(*changed)
