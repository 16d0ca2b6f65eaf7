"""Where a dense head makes its predictions: a location a cell of each level's feature map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Locations(NamedTuple):
    """N locations, level by level, each level row by row.

    points: (N, 2), x and y in pixels. strides: (N,), the side in pixels of the level's cells.
    """

    points: Tensor
    strides: Tensor


def locations_of(
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    image: tuple[int, int],
    like: Tensor,
    corners: bool = False,
) -> Locations:
    """Locations of levels with maps of `sizes` (rows, columns), in an image of `image` (height, width).

    They are the middles of the cells, s (i + 1/2) - 1/2. corners: instead the cells' upper left corners,
    with steps of image / map, rounded down, as torchvision's anchors: what its weights were trained with.
    like: whose device and dtype they have.
    """
    points, spread = [], []
    for (rows, columns), stride in zip(sizes, strides, strict=True):
        step_y, step_x = (image[0] // rows, image[1] // columns) if corners else (stride, stride)
        shift = 0.0 if corners else 0.5
        y = (torch.arange(rows, device=like.device, dtype=like.dtype) + shift) * step_y - 0.5
        x = (torch.arange(columns, device=like.device, dtype=like.dtype) + shift) * step_x - 0.5
        points.append(torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)], -1).flatten(0, 1))
        spread.append(x.new_full((rows * columns,), stride))
    return Locations(torch.cat(points), torch.cat(spread))
