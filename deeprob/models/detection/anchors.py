"""Anchors: boxes of a few shapes at every location, from which a two-stage detector starts.

Source: Ren et al., Faster R-CNN (2015), section 3.1.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deeprob.models.detection.locations import locations_of


def shapes_of(side: float, ratios: Sequence[float], rounded: bool) -> Tensor:
    """Half the width and height (A, 2) of boxes of the area side^2 and of each ratio, height over width.

    rounded: to whole pixels, as torchvision's, whose weights know no others.
    """
    ratio = torch.tensor(ratios, dtype=torch.float32).sqrt()
    halves = torch.stack([side / ratio, side * ratio], 1) / 2
    return halves.round() if rounded else halves


def anchors_of(
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    image: tuple[int, int],
    like: Tensor,
    sides: Sequence[float],
    ratios: Sequence[float],
    corners: bool = False,
) -> list[Tensor]:
    """Anchors of each level, (cells A, 4), cell by cell.

    sides: of each level, in pixels. ratios: see shapes_of. The rest: see locations_of.
    """
    levels = []
    for size, stride, side in zip(sizes, strides, sides, strict=True):
        points = locations_of([size], [stride], image, like, corners).points[:, None]
        halves = shapes_of(side, ratios, rounded=corners).to(like)
        levels.append(torch.cat([points - halves, points + halves], -1).flatten(0, 1))
    return levels
