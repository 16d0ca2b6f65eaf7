"""Masks of objects: as run lengths in memory, moved with their image, and pasted where a box was found.

Run lengths are the numbers of pixels outside, inside, outside, ... of a mask, row by row: a mask of a few
kilobytes is a few hundred numbers, and masks may overlap.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def run_lengths(mask: Mask) -> NDArray[np.int32]:
    """The runs of a mask bool (H, W): int32 (R,), the first outside of it, maybe of no pixel."""
    flat = np.concatenate([[False], mask.ravel(), [True]])
    ends = np.flatnonzero(flat[1:-1] != flat[:-2])
    return np.diff(np.concatenate([[0], ends, [mask.size]])).astype(np.int32)


def from_runs(runs: NDArray[np.integer[Any]], height: int, width: int) -> Mask:
    """The mask bool (height, width) of its runs."""
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def move(mask: Mask, matrix: NDArray[np.float64], height: int, width: int) -> Mask:
    """A mask under a map (3, 3) to an image of a height and width; each pixel is that of the nearest."""
    if mask.shape == (height, width) and np.array_equal(matrix, np.eye(3)):
        return mask
    moved: Any = cv2.warpAffine(mask.astype(np.uint8), matrix[:2], (width, height), flags=cv2.INTER_NEAREST)
    return np.asarray(moved != 0)


def paste(
    cells: NDArray[np.float32], box_xyxy: NDArray[np.float64], height: int, width: int, threshold: float = 0.5
) -> Mask:
    """The pixels of an image that are in a mask found in a box.

    cells: probabilities (S, S), evenly over the box, which may begin and end within a pixel. Between the
    middles of cells they are interpolated, beyond the outermost ones they stay as they are: a mask that fills
    its box fills it after this too. A pixel is in the mask where its middle is in the box and the probability
    there is over the threshold. Returns bool (height, width).
    """
    left, top, right, bottom = box_xyxy.tolist()
    mask = np.zeros((height, width), bool)
    x0, x1 = max(0, int(np.ceil(left))), min(width - 1, int(np.floor(right)))
    y0, y1 = max(0, int(np.ceil(top))), min(height - 1, int(np.floor(bottom)))
    if x1 < x0 or y1 < y0:
        return mask
    high, wide = cells.shape
    scale_x, scale_y = wide / (right - left), high / (bottom - top)
    from_pixels = np.array(
        [[scale_x, 0, (x0 - left) * scale_x - 0.5], [0, scale_y, (y0 - top) * scale_y - 0.5]]
    )
    seen: Any = cv2.warpAffine(
        cells,
        from_pixels,
        (x1 - x0 + 1, y1 - y0 + 1),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mask[y0 : y1 + 1, x0 : x1 + 1] = seen > threshold
    return mask
