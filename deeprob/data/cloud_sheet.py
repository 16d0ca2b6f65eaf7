"""A contact sheet of point clouds."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.data.inspect import tiled, titled_tile
from deeprob.data.points import Cloud
from deeprob.geometry.camera import look_at
from deeprob.geometry.transform import invert_transform, transform_points

_EYE = (1.0, -1.6, 0.9)  # the direction they are seen from, in the object's axes, z up
_PARTS = 9  # colours told apart


def cloud_sheet(clouds: Iterable[tuple[str, Cloud]], columns: int = 4, width: int = 320) -> NDArray[np.uint8]:
    """Draw titled clouds from one side, each as large as its tile, near points brighter: uint8 (H, W, 3).

    Points of different parts have different colours.
    """
    return tiled([_tile(title, cloud, width) for title, cloud in clouds], columns)


def _tile(title: str, cloud: Cloud, width: int) -> NDArray[np.uint8]:
    height = width * 3 // 4
    seen = transform_points(
        invert_transform(look_at(_EYE, (0.0, 0.0, 0.0))), cloud.points - cloud.points.mean(0)
    )
    order = np.argsort(-seen[:, 2])  # the nearest last, on top
    seen = seen[order]
    size = max(float(np.ptp(seen[:, 0])) / width, float(np.ptp(seen[:, 1])) / height, 1e-9)
    middle = (seen[:, :2].min(0) + seen[:, :2].max(0)) / 2
    pixels = np.rint((seen[:, :2] - middle) / size * 0.9 + (width / 2, height / 2)).astype(int)
    near = 1 - (seen[:, 2] - seen[:, 2].min()) / max(float(np.ptp(seen[:, 2])), 1e-9)
    hue = np.zeros(len(seen)) + 100 if cloud.parts is None else cloud.parts[order] % _PARTS * (180 / _PARTS)
    hsv = np.stack([hue, np.full(len(seen), 150), 90 + 165 * near], 1).astype(np.uint8)
    colors = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    image = np.zeros((height, width, 3), np.uint8)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = (pixels + np.array([dx, dy])).clip(0, (width - 1, height - 1)).T
        image[y, x] = colors
    return titled_tile(title, image)
