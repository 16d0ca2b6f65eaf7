"""Boxes in pixels: the one form used inside, and the forms that files have.

Inside, a box is float64 (4,): left, top, right, bottom, in coordinates where a whole number is the centre of
a pixel, so that pixel i covers [i - 0.5, i + 0.5]. Files count in one of three ways:

    edges     from the image's corner, pixel i covers [i, i + 1]. COCO's x, y, width, height, in annotations
              and in detections (BOP's detections too); YOLO's, relative to the image; PROPS' xyxy
    pixels    the first and the last pixel that belong to the box, counted from 0 or, as Pascal VOC, from 1
    spans     x, y of the first pixel and the last minus the first, one less than there are pixels: BOP's
              scene_gt_info.json alone

KITTI's left, top, right, bottom count from pixel centres, as here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Box = NDArray[np.float64]


def from_edges(edges: ArrayLike) -> Box:
    """Box of left, top, right, bottom, counted from the image's corner."""
    return np.asarray(edges, np.float64) - 0.5


def to_edges(box: ArrayLike) -> Box:
    """Left, top, right, bottom, counted from the image's corner."""
    return np.asarray(box, np.float64) + 0.5


def from_coco(values: ArrayLike) -> Box:
    """Box of x, y, width, height, counted from the image's corner."""
    x, y, width, height = np.asarray(values, np.float64)
    return from_edges([x, y, x + width, y + height])


def to_coco(box: ArrayLike) -> Box:
    """x, y, width, height, counted from the image's corner."""
    left, top, right, bottom = to_edges(box)
    return np.array([left, top, right - left, bottom - top])


def from_pixels(pixels: ArrayLike, first: int = 0) -> Box:
    """Box of the first and the last column and row in it, left, top, right, bottom, counted from `first`."""
    return np.asarray(pixels, np.float64) - first + [-0.5, -0.5, 0.5, 0.5]


def from_span(values: ArrayLike) -> Box:
    """Box of BOP's bbox_obj or bbox_visib: x, y of the first pixel, last minus first."""
    x, y, width, height = np.asarray(values, np.float64)
    return from_pixels([x, y, x + width, y + height])


def to_span(box: ArrayLike) -> list[int]:
    """BOP's bbox_obj or bbox_visib of a box around whole pixels."""
    left, top, columns, rows = to_coco(box)
    return [int(left), int(top), int(columns) - 1, int(rows) - 1]


def of_image(size: Sequence[int]) -> Box:
    """Box around a whole image of size (H, W, ...)."""
    return from_edges([0, 0, size[1], size[0]])


def of_mask(mask: NDArray[np.bool_]) -> Box | None:
    """Box around a mask's pixels, bool (H, W); None where it has none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return from_pixels([columns[0], rows[0], columns[-1], rows[-1]])
