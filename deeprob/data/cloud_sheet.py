"""A contact sheet of point clouds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from deeprob.data.inspect import tiled, titled_tile
from deeprob.data.readers.points import Cloud
from deeprob.geometry.camera import look_at
from deeprob.geometry.transform import invert_transform, transform_points

PICTURE = 96  # pixels a side of a cloud drawn alone
_EYE = (1.0, -1.6, 0.9)  # the direction they are seen from, in the object's axes, z up


def cloud_sheet(clouds: Iterable[tuple[str, Cloud]], columns: int = 4, width: int = 240) -> NDArray[np.uint8]:
    """Draw titled clouds from one side, each as large as its tile: uint8 (H, W, 3)."""
    T_cam_obj = invert_transform(look_at(_EYE, (0.0, 0.0, 0.0)))
    tiles = []
    for title, cloud in clouds:
        seen = transform_points(T_cam_obj, cloud.points).astype(np.float32)
        tiles.append(titled_tile(title, draw_clouds([seen], size=width)[0]))
    return tiled(tiles, columns)


def draw_clouds(
    clouds: Sequence[NDArray[np.float32]],
    colours: Sequence[NDArray[np.uint8]] | None = None,
    size: int = PICTURE,
) -> NDArray[np.uint8]:
    """Draw clouds (P, 3) as the camera sees them: uint8 (n, size, size, 3).

    colours: of the points of each, uint8 (P, 3); None draws near points dark and far ones light.
    """
    pictures = np.full((len(clouds), size, size, 3), 255, np.uint8)
    near, far = np.array([20, 60, 120]), np.array([170, 205, 235])
    for number, (picture, points) in enumerate(zip(pictures, clouds, strict=True)):
        centred = points - (points.min(0) + points.max(0)) / 2
        reach = max(float(np.abs(centred).max()), 1e-9)
        column, row = np.rint((centred[:, :2] / reach * 0.46 + 0.5) * (size - 1)).astype(int).T
        depth = (centred[:, 2:] / reach + 1) / 2
        colour = (near + depth * (far - near)).astype(np.uint8) if colours is None else colours[number]
        for i in np.argsort(-centred[:, 2]):  # the nearest last: it hides what is behind
            picture[row[i] : row[i] + 2, column[i] : column[i] + 2] = colour[i]
    return pictures
