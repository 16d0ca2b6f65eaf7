"""Images with boxes and masks, as a network gets them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class InstanceBatch(NamedTuple):
    """Images with boxes and masks: see DetectionBatch.

    masks: for each image bool (n, H, W). sizes: int64 (B, 2), the frame's height and width.
    """

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    crowds: list[Tensor]
    matrices: Tensor
    indices: Tensor
    masks: list[Tensor]
    sizes: Tensor
