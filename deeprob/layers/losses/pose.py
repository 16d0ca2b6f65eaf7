"""Pose losses ADD and ADD-S: how far an object's points are from where they should be.

    R, t (N, 3, 3), (N, 3) estimated pose     R', t' target pose     x_1 ... x_M points of the object's model

    ADD       e_m = (R x_m + t) - (R' x_m + t')                each point against itself
    ADD-S     e_m = (R x_m + t) - (R' x_j(m) + t'),            each against the nearest of the target's:
              j(m) = argmin_j |(R x_m + t) - (R' x_j + t')|    what looks the same costs nothing
    y = mean_m |e_m|                                           (N,), in the unit of the points

    u_m = e_m / |e_m| / M      0 where e_m = 0
    dt = dy sum_m u_m                  dt' = -dt
    dR = dy sum_m u_m x_m^T            dR' = -dy sum_m u_m x_j(m)^T

The points are constants, and so is the assignment j: it changes only where two candidates are equally near.
ADD needs no target points: e_m = (R - R') x_m + (t - t').
Cost: about 40 FLOPs a point each way, ADD-S 8 M more to find the nearest; saves the poses and j.
Source: Hinterstoisser et al. 2012, equations 4 and 5; Xiang et al. 2018, PoseCNN, equations 2 and 3.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect, expect_alike
from ._reduction import Reduction, expect_reduction, per_element, reduce

BLOCK = 1 << 20  # distances computed at a time


class PoseDistanceFunction(Function):
    """y = mean_m |e_m|, with j(m) in `nearest` (N, M); None: j(m) = m."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(
        R: Tensor,
        t: Tensor,
        R_target: Tensor,
        t_target: Tensor,
        points: Tensor,
        nearest: Tensor | None,
        reduction: Reduction,
    ) -> Tensor:
        e = residual(R, t, R_target, t_target, points, nearest)
        return reduce(torch.linalg.vector_norm(e, dim=-1).mean(-1), reduction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.reduction = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        points, nearest = ctx.saved_tensors[4:]
        e = residual(*ctx.saved_tensors)
        scale = per_element(dy, ctx.reduction, len(e)) / e.shape[1]
        u = direction(e) * scale.reshape(-1, 1, 1)
        dR, dt = u.mT @ points, u.sum(1)
        dR_target = -dR if nearest is None else -u.mT @ pick(points, nearest)
        return dR, dt, dR_target, -dt, None, None, None

    @staticmethod
    def tangent(ctx: Any, *dots: Any) -> Any:
        e_dot = residual(*dots[:4], *ctx.saved_tensors[4:])  # it is linear in the poses
        along = (direction(residual(*ctx.saved_tensors)) * e_dot).sum(-1)
        return reduce(along.mean(-1), ctx.reduction)


def residual(
    R: Tensor, t: Tensor, R_target: Tensor, t_target: Tensor, points: Tensor, nearest: Tensor | None
) -> Tensor:
    """Return e (N, M, 3)."""
    if nearest is None:
        return points @ (R - R_target).mT + (t - t_target)[:, None]
    return points @ R.mT - pick(points, nearest) @ R_target.mT + (t - t_target)[:, None]


def direction(e: Tensor) -> Tensor:
    """Return e / |e|, 0 where e is."""
    length: Tensor = torch.linalg.vector_norm(e, dim=-1, keepdim=True)
    return e / length.clamp_min(1e-30)


def pick(points: Tensor, nearest: Tensor) -> Tensor:
    """Return x_j(m) (N, M, 3)."""
    if points.dim() == 2:
        return points.index_select(0, nearest.reshape(-1)).reshape(*nearest.shape, 3)
    return points.gather(1, nearest[..., None].expand(*nearest.shape, 3))


def nearest_points(R: Tensor, t: Tensor, R_target: Tensor, t_target: Tensor, points: Tensor) -> Tensor:
    """Return j (N, M): for each estimated point the nearest target point, both relative to t'."""
    estimated = points @ R.mT + (t - t_target)[:, None]
    target = points @ R_target.mT
    squares = target.square().sum(-1)[:, None]
    step = max(1, BLOCK // max(1, points.shape[-2] ** 2))
    found = [
        torch.baddbmm(
            squares[i : i + step], estimated[i : i + step], target[i : i + step].mT, alpha=-2
        ).argmin(-1)
        for i in range(0, len(R), step)
    ]
    return torch.cat(found) if found else squares.new_zeros(0, points.shape[-2], dtype=torch.int64)


def add_loss(
    rotation: Tensor,
    translation: Tensor,
    target_rotation: Tensor,
    target_translation: Tensor,
    points: Tensor,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the mean distance of a model's points between estimated and target poses, reduced over N poses.

    Rotations (N, 3, 3), translations (N, 3), points (M, 3) of one model or (N, M, 3), in one unit of length.
    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    poses = (rotation, translation, target_rotation, target_translation)
    _expect_poses("add_loss", *poses, points, reduction)
    y: Tensor = PoseDistanceFunction.apply(*poses, points, None, reduction)
    return y


def add_s_loss(
    rotation: Tensor,
    translation: Tensor,
    target_rotation: Tensor,
    target_translation: Tensor,
    points: Tensor,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return ADD-S, the loss for symmetric objects: as add_loss, but each point against the nearest one."""
    poses = (rotation, translation, target_rotation, target_translation)
    _expect_poses("add_s_loss", *poses, points, reduction)
    device = points.device.type if not points.is_meta else "cpu"  # the meta device has no autocast
    with torch.no_grad(), torch.autocast(device, enabled=False):
        R, t, R_target, t_target = (x.detach().to(points.dtype) for x in poses)
        nearest = nearest_points(R, t, R_target, t_target, points.detach())
    y: Tensor = PoseDistanceFunction.apply(*poses, points, nearest, reduction)
    return y


def _expect_poses(
    layer: str, R: Tensor, t: Tensor, R_target: Tensor, t_target: Tensor, points: Tensor, reduction: str
) -> None:
    expect(R.dim() == 3 and R.shape[1:] == (3, 3), layer, "rotation (N, 3, 3)", R)
    expect(t.shape == (len(R), 3), layer, f"translation ({len(R)}, 3)", t)
    expect(R_target.shape == R.shape, layer, f"target_rotation {tuple(R.shape)}", R_target)
    expect(t_target.shape == t.shape, layer, f"target_translation {tuple(t.shape)}", t_target)
    shared = points.dim() == 2 or (points.dim() == 3 and len(points) == len(R))
    expect(shared and points.shape[-1] == 3, layer, f"points (M, 3) or ({len(R)}, M, 3)", points)
    expect(points.shape[-2] > 0, layer, "at least one point", points)
    tensors = dict(rotation=R, translation=t, target_rotation=R_target, target_translation=t_target)
    expect_alike(layer, **tensors, points=points)
    expect_reduction(layer, reduction)
