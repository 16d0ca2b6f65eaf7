"""What a network is to say of each pixel: made for every batch from depth, masks and poses.

Of a crop of one object:

    X = R^T (K^-1 (u, v, 1) z - t)           the object's point that the pixel shows, metres

Points that lie outside the object's bounding box are readings of something else, and do not count.
Of a whole picture: the class of each cell, and of each object's cells the direction to its centre and the
object's distance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from deeprob.models.pose.codes import cell_pixels, distance_code
from deeprob.models.pose.objects import ObjectTable

UNKNOWN = 2  # in a mask: nobody has said whether the object is there
UNKNOWN_OWNER = 255  # in a map of owners
IGNORED = -100  # in a map of classes
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


class SceneTargets(NamedTuple):
    """For B pictures, n objects in all, N cells on them.

    classes: int64 (B, H, W), 0 is background, class i is i + 1, IGNORED has no label. owners: int64
    (B, H, W), 0 or the number in its picture, from 1, of the object that is seen. first: of each picture, how
    many objects the pictures before have. rows: the indices of the N cells. centres: (N, 3), the unit
    direction to the object's centre and its distance, see codes.distance_code. labels: int64 (n,). poses:
    (n, 4, 4).
    """

    classes: Tensor
    owners: Tensor
    first: list[int]
    rows: tuple[Tensor, Tensor, Tensor]
    centres: Tensor
    labels: Tensor
    poses: Tensor


def scene_targets(table: ObjectTable, batch: Any, cell: int) -> SceneTargets:
    """Targets of a batch of tasks/pose/frame_view.py whose cells are `cell` pixels wide."""
    owners, count = batch.owners.long(), len(batch.owners)
    labels, poses = torch.cat(batch.labels), torch.cat(batch.T_cam_obj)
    first = [0, *torch.tensor([len(each) for each in batch.labels]).cumsum(0).tolist()][:count]
    table_of = owners.new_zeros(count, UNKNOWN_OWNER + 1)
    for b, own in enumerate(batch.labels):
        table_of[b, 1 : len(own) + 1] = own + 1
    table_of[:, UNKNOWN_OWNER] = IGNORED
    classes = table_of.gather(1, owners.flatten(1)).view_as(owners)
    b, row, column = ((owners > 0) & (owners != UNKNOWN_OWNER)).nonzero(as_tuple=True)
    index = torch.tensor(first, device=owners.device)[b] + owners[b, row, column] - 1
    t, K = poses[index, :3, 3], batch.K[b]
    seen = (K @ t[..., None]).squeeze(-1)
    at = (torch.stack([column, row], 1) + 0.5) * cell - 0.5
    to = seen[:, :2] / seen[:, 2:] - at
    direction = to / to.norm(dim=1, keepdim=True).clamp_min(1e-6)
    distance = distance_code(t[:, 2], K, table.diameter[labels[index]])
    centres = torch.cat([direction, distance[:, None]], 1)
    return SceneTargets(classes, owners, first, (b, row, column), centres, labels, poses)
