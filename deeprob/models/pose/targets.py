"""What a network is to say of each pixel of a crop: made for every batch from depth, mask and pose.

    X = R^T (K^-1 (u, v, 1) z - t)           the object's point that the pixel shows, metres

Points that lie outside the object's bounding box are readings of something else, and do not count.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from deeprob.models.pose.codes import cell_pixels
from deeprob.models.pose.objects import ObjectTable

UNKNOWN = 2  # in a mask: nobody has said whether the object is there
SLACK_M = 0.005  # that a reading may lie outside the box


class DenseTargets(NamedTuple):
    """For B crops, S poses that look the same, N cells.

    points: (B, S, N, 3), in diameters from the object's middle. known: bool (B, N), whether the cell has a
    point. mask: (B, N), 1 on the visible object; mask_known: bool (B, N). poses: (B, S, 4, 4).
    """

    points: Tensor
    known: Tensor
    mask: Tensor
    mask_known: Tensor
    poses: Tensor


def camera_points(depth: Tensor, K: Tensor, side: int) -> Tensor:
    """Points (B, N, 3) in metres that the cells of depth maps (B, G, G) show. K: of crops `side` wide."""
    at = cell_pixels(depth.shape[1], side).to(depth)
    v, u = torch.meshgrid(at, at, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], -1).reshape(-1, 3)
    rays = pixels @ torch.linalg.inv(K).mT
    points: Tensor = rays * depth.flatten(1)[..., None]
    return points


def dense_targets(
    table: ObjectTable, labels: Tensor, T: Tensor, K: Tensor, depth: Tensor, mask: Tensor, side: int
) -> DenseTargets:
    """Targets of crops: labels (B,), poses T (B, 4, 4), cameras K (B, 3, 3), depth and mask (B, G, G)."""
    with torch.autocast(depth.device.type, enabled=False):
        poses = table.symmetric(T, labels)
        seen = camera_points(depth, K, side)[:, None] - poses[..., None, :3, 3]
        points = seen @ poses[..., :3, :3]  # R^T x, x a row
        inside = (points[:, 0] - table.middle[labels][:, None]).abs()
        within = (inside <= 1.1 * table.half_sides[labels][:, None] + SLACK_M).all(-1)
        flat = mask.flatten(1)
        known = within & (flat == 1) & (depth.flatten(1) > 0)
        count, symmetries = points.shape[:2]
        scaled = table.scaled(points.reshape(count, -1, 3), labels).view(count, symmetries, -1, 3)
    return DenseTargets(scaled, known, (flat == 1).float(), flat != UNKNOWN, poses)
