"""A contact sheet of point clouds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from deeprob.data.inspect import tiled, titled_tile
from deeprob.data.point_cuts import draw_clouds
from deeprob.data.points import Cloud
from deeprob.geometry.camera import look_at
from deeprob.geometry.transform import invert_transform, transform_points

_EYE = (1.0, -1.6, 0.9)  # the direction they are seen from, in the object's axes, z up


def cloud_sheet(clouds: Iterable[tuple[str, Cloud]], columns: int = 4, width: int = 240) -> NDArray[np.uint8]:
    """Draw titled clouds from one side, each as large as its tile: uint8 (H, W, 3)."""
    T_cam_obj = invert_transform(look_at(_EYE, (0.0, 0.0, 0.0)))
    tiles = []
    for title, cloud in clouds:
        seen = transform_points(T_cam_obj, cloud.points).astype(np.float32)
        tiles.append(titled_tile(title, draw_clouds([seen], size=width)[0]))
    return tiled(tiles, columns)
