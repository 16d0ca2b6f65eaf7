"""What a frame shows of an object, cut out and scaled for its pose to be refined on it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.models.pose.by_render import Drawn, Seen

Floats = NDArray[np.float64]
MARGIN = 0.3  # diameters around the object, for a start that is off


def seen_on(
    sides: tuple[int, ...],
    T: Floats,
    K: Floats,
    drawn: Drawn,
    *,
    mask: NDArray[Any] | None = None,
    depth: NDArray[Any] | None = None,
    rgb: NDArray[Any] | None = None,
) -> list[Seen]:
    """Squares of so many pixels around the pose T (4, 4) in a frame of camera K (3, 3): coarse to fine.

    mask: (H, W) bool, the visible object. depth: (H, W), metres. rgb: uint8 (H, W, 3). Outside of the frame
    nothing is known.
    """
    middle = K @ (T[:3, :3] @ drawn.middle.double().numpy() + T[:3, 3])
    half = K[0, 0] * drawn.diameter * (0.5 + MARGIN) / max(middle[2], 1e-3)
    squares = []
    for side in sides:
        scale = side / (2 * half)
        shift = (side - 1) / 2 - scale * middle[:2] / max(middle[2], 1e-3)
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]])
        squares.append(
            Seen(
                torch.from_numpy(matrix @ K).float(),
                _cut(mask, matrix, side, cv2.INTER_LINEAR, np.nan),
                _cut(depth, matrix, side, cv2.INTER_NEAREST, 0.0),
                None if rgb is None else _cut(rgb / np.float32(255), matrix, side, cv2.INTER_LINEAR, np.nan),
            )
        )
    return squares


def _cut(plane: NDArray[Any] | None, matrix: Floats, side: int, how: int, outside: float) -> Tensor | None:
    if plane is None:
        return None
    cut = cv2.warpAffine(
        *(plane.astype(np.float32), matrix[:2], (side, side)),
        flags=how,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(outside,) * 4,
    )
    return torch.from_numpy(cut)
