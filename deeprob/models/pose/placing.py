"""Where an object lies, by what the cells that show it say of its centre, and by a depth image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.models.pose import codes
from deeprob.models.pose.hough import find_centre
from deeprob.models.pose.icp import Surface, refined
from deeprob.models.pose.regions import Region

Floats = NDArray[np.float64]

FEWEST_READINGS = 8
NEAREST_M = 0.05


def place(told: Any, region: Region, K: Tensor, diameter: float, cell: int) -> tuple[Tensor, float]:
    """The translation float64 (1, 3) of the object that a region shows, and what share of its cells agree.

    told: (3, H, W), of each cell the direction to its object's centre, and the distance's code. K: float64
    (1, 3, 3). cell: pixels to a cell.
    """
    values = told[:, region.rows, region.columns].T.astype(np.float64)
    points = np.stack([region.columns, region.rows], 1).astype(np.float64)
    centre = find_centre(points, values[:, :2], told.shape[1:])
    code = np.median(values[centre.inliers, 2]) if centre.inliers.any() else np.median(values[:, 2])
    z = codes.distance_of(torch.tensor([code]), K, torch.tensor([diameter], dtype=torch.float64))
    pixel = torch.from_numpy((centre.at + 0.5) * cell - 0.5)[None]
    return codes.back_projected(pixel, z, K), float(centre.inliers.mean())


def on_depth(
    T: Floats, region: Region, depth: Any, K: Tensor, surface: Surface, cell: int, icp: bool
) -> Floats:
    """The pose (4, 4) moved along the ray to what the depth image (H, W) shows of a region.

    icp: then the surface is laid on the readings. T itself where there are too few.
    """
    z = depth[region.rows, region.columns].astype(np.float64)
    read = z > 0
    if read.sum() < FEWEST_READINGS:
        return T
    cells = np.stack([region.columns, region.rows], 1)[read]
    pixel, z = torch.from_numpy((cells + 0.5) * cell - 0.5), z[read]
    far = (surface.points @ T[:3, :3].T + T[:3, 3])[:, 2]
    front = far[far <= np.median(far)]  # of a closed surface about half is hidden by the other half
    moved = T.copy()
    moved[:3, 3] *= max(T[2, 3] + np.median(z) - np.median(front), NEAREST_M) / T[2, 3]
    if not icp:
        return moved
    seen = codes.back_projected(pixel, torch.from_numpy(z), K.expand(len(z), 3, 3)).numpy()
    return refined(moved, seen, surface)
