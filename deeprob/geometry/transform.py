"""Rigid transforms as 4x4 matrices: `T_a_b` maps points of frame b to frame a, so T_a_b @ T_b_c = T_a_c."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def make_transform(R: ArrayLike | None = None, t: ArrayLike | None = None) -> Array:
    """T (4, 4) from a rotation (3, 3) and a translation (3,); what is left out is the identity."""
    T = np.zeros((4, 4))
    T[3, 3] = 1.0
    T[:3, :3] = np.eye(3) if R is None else R
    if t is not None:
        T[:3, 3] = t
    return T


def invert_transform(T_a_b: Array) -> Array:
    """T_b_a. Exact for rigid transforms: the rotation is transposed."""
    R = T_a_b[:3, :3].T
    return make_transform(R, -R @ T_a_b[:3, 3])


def transform_points(T_a_b: Array, points_b: ArrayLike) -> Array:
    """Points (N, 3) of frame b, in frame a."""
    points: Array = np.asarray(points_b, np.float64) @ T_a_b[:3, :3].T + T_a_b[:3, 3]
    return points
