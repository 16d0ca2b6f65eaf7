"""The pinhole camera: OpenCV axes (x right, y down, z forward), an integer coordinate is a pixel's centre."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeprob.errors import InputError

Array = NDArray[np.float64]


def make_intrinsics(fx: float, fy: float, cx: float, cy: float) -> Array:
    """K (3, 3) in pixels. Raises InputError for focal lengths not above 0 and values that are not finite."""
    if not all(map(math.isfinite, (fx, fy, cx, cy))) or fx <= 0 or fy <= 0:
        raise InputError(
            f"bad intrinsics fx={fx} fy={fy} cx={cx} cy={cy}",
            where="camera.K",
            expected="finite numbers, fx and fy above 0 pixels",
        )
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def intrinsics_from_fov(width: int, height: int, degrees: float) -> Array:
    """K (3, 3) of square pixels with the optical axis in the middle and this horizontal field of view."""
    if not 0 < degrees < 180:
        raise InputError(
            f"a field of view of {degrees} degrees",
            where="camera.field_of_view",
            expected="between 0 and 180",
        )
    focal = width / 2 / math.tan(math.radians(degrees) / 2)
    return make_intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2)


def invert_intrinsics(K: Array) -> Array:
    """The inverse (3, 3) of K without skew: pixel (u, v, 1) to the point of its ray at depth 1."""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    return np.array([[1 / fx, 0.0, -cx / fx], [0.0, 1 / fy, -cy / fy], [0.0, 0.0, 1.0]])


def project_points(K: Array, points_cam: ArrayLike) -> Array:
    """Pixels (N, 2) of points (N, 3) in camera axes, which must lie in front of the camera (z > 0)."""
    uvw = np.asarray(points_cam, np.float64) @ K.T
    pixels: Array = uvw[:, :2] / uvw[:, 2:]
    return pixels


def look_at(eye: Iterable[float], target: Iterable[float], roll: float = 0.0) -> Array:
    """T_world_cam (4, 4) of a camera at `eye` looking at `target`, world z up, rolled by `roll` radians."""
    (ex, ey, ez), (tx, ty, tz) = (float(v) for v in eye), (float(v) for v in target)
    x, y, z = tx - ex, ty - ey, tz - ez
    distance, level = math.sqrt(x * x + y * y + z * z), math.hypot(x, y)
    if not distance > 1e-9:
        raise ValueError(f"the camera stands on the point it looks at: {[ex, ey, ez]}")
    x, y, z = x / distance, y / distance, z / distance
    # right = forward x up; straight down or up, any horizontal axis will do
    rx, ry = (y * distance / level, -x * distance / level) if level > 1e-6 * distance else (1.0, 0.0)
    dx, dy, dz = -z * ry, z * rx, x * ry - y * rx  # down = forward x right
    c, s = math.cos(roll), math.sin(roll)
    T = np.eye(4)
    T[0] = rx * c + dx * s, dx * c - rx * s, x, ex
    T[1] = ry * c + dy * s, dy * c - ry * s, y, ey
    T[2] = dz * s, dz * c, z, ez
    return T
