"""Rotations: unit quaternions (w, x, y, z) and 3x3 matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def quaternion_to_matrix(q: ArrayLike) -> Array:
    """The rotation matrix (3, 3) of a quaternion (w, x, y, z) of any length but zero (ValueError)."""
    q = np.asarray(q, np.float64)
    length = np.linalg.norm(q)
    if not np.isfinite(length) or length < 1e-12:
        raise ValueError(f"a rotation needs a finite quaternion other than zero, got {q.tolist()}")
    w, x, y, z = q / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def axis_angle_to_matrix(axis: ArrayLike, angle: float) -> Array:
    """The rotation by `angle` radians about `axis` (3,), counter-clockwise seen against the axis."""
    axis = np.asarray(axis, np.float64)
    axis = axis / np.linalg.norm(axis)
    return quaternion_to_matrix([np.cos(angle / 2), *(np.sin(angle / 2) * axis)])


def random_quaternion(rng: np.random.Generator) -> Array:
    """A quaternion (w, x, y, z), uniform over the rotations (a normalised 4-D Gaussian)."""
    q = rng.normal(size=4)
    return np.asarray(q / np.linalg.norm(q), np.float64)


def random_turn(rng: np.random.Generator) -> Array:
    """A unit quaternion (w, x, y, z) of a turn about z, by an angle that is uniform."""
    half = rng.uniform(0, np.pi)
    return np.array([np.cos(half), 0.0, 0.0, np.sin(half)])
