"""Chamfer distance of two point sets: each point to the nearest of the other set.

    a (N, P, D), b (N, Q, D)      j(i) = argmin_j |a_i - b_j|      i(j) = argmin_i |b_j - a_i|

    y = 1/P sum_i |a_i - b_j(i)|^2  +  1/Q sum_j |b_j - a_i(j)|^2          (N,)

    da_i = dy (2/P (a_i - b_j(i)) - 2/Q sum over j with i(j) = i of (b_j - a_i))        db_j: likewise

The assignments are constants: they change only where two points are equally near.
Cost: P Q distances forward, a few FLOPs a point backward; saves both sets and the assignments.
Source: Fan et al. 2017, A point set generation network, equation 1.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .._function import Function, expect, expect_alike, widened
from ._reduction import Reduction, expect_reduction, per_element, reduce

BLOCK = 1 << 22  # distances computed at a time


class ChamferFunction(Function):
    """y, with j(i) in `to_b` (N, P) and i(j) in `to_a` (N, Q)."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(a: Tensor, b: Tensor, to_b: Tensor, to_a: Tensor, reduction: Reduction) -> Tensor:
        there, back = apart(a, b, to_b), apart(b, a, to_a)
        return reduce(there.square().sum(-1).mean(-1) + back.square().sum(-1).mean(-1), reduction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.reduction = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a, b, to_b, to_a = ctx.saved_tensors
        scale = 2 * per_element(dy, ctx.reduction, len(a)).reshape(-1, 1, 1)
        there = apart(a, b, to_b) * (scale / a.shape[1])
        back = apart(b, a, to_a) * (scale / b.shape[1])
        return there - returned(back, to_a, a), back - returned(there, to_b, b), None, None, None

    @staticmethod
    def tangent(ctx: Any, a_dot: Tensor, b_dot: Tensor, *_: Any) -> Any:
        a, b, to_b, to_a = ctx.saved_tensors
        there = 2 * (apart(a, b, to_b) * apart(a_dot, b_dot, to_b)).sum(-1).mean(-1)
        back = 2 * (apart(b, a, to_a) * apart(b_dot, a_dot, to_a)).sum(-1).mean(-1)
        return reduce(there + back, ctx.reduction)


def apart(x: Tensor, y: Tensor, nearest: Tensor) -> Tensor:
    """Return x_i - y_nearest(i), (N, P, D)."""
    return x - y.gather(1, nearest[..., None].expand(*nearest.shape, y.shape[-1]))


def returned(d: Tensor, nearest: Tensor, like: Tensor) -> Tensor:
    """Return for each point of `like` the sum of d over the points that it is nearest to."""
    return torch.zeros_like(like).scatter_add(1, nearest[..., None].expand_as(d), d)


def nearest_of(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return j(i) (N, P) and i(j) (N, Q)."""
    step = max(1, BLOCK // (a.shape[1] * b.shape[1]))
    to_b, to_a = [], []
    for i in range(0, len(a), step):
        # by differences: |a|^2 - 2 a.b + |b|^2 would lose what tells near points apart, far from the origin
        distance = torch.cdist(a[i : i + step], b[i : i + step], compute_mode="donot_use_mm_for_euclid_dist")
        to_b.append(distance.argmin(2))
        to_a.append(distance.argmin(1))
    if not to_b:
        empty = a.new_zeros(0, dtype=torch.int64)
        return empty.view(0, 1).expand(0, a.shape[1]), empty.view(0, 1).expand(0, b.shape[1])
    return torch.cat(to_b), torch.cat(to_a)


def chamfer_distance(a: Tensor, b: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Return the chamfer distance of point sets a (N, P, D) and b (N, Q, D), reduced over the N pairs.

    In the square of the points' unit. Raises ValueError where shapes, dtypes or devices do not fit.
    """
    name = "chamfer_distance"
    expect(a.dim() == 3 and a.shape[1] > 0, name, "a (N, P, D), P at least 1", a)
    fits = b.dim() == 3 and b.shape[1] > 0 and b.shape[::2] == a.shape[::2]
    expect(fits, name, f"b ({len(a)}, Q, {a.shape[-1]}), Q at least 1", b)
    expect_alike(name, a=a, b=b)
    expect_reduction(name, reduction)
    device = a.device.type if not a.is_meta else "cpu"  # the meta device has no autocast
    with torch.no_grad(), torch.autocast(device, enabled=False):
        to_b, to_a = nearest_of(widened(a.detach()), widened(b.detach()))
    y: Tensor = ChamferFunction.apply(a, b, to_b, to_a, reduction)
    return y


class ChamferDistance(nn.Module):
    """The distance above."""

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return chamfer_distance(a, b, self.reduction)
