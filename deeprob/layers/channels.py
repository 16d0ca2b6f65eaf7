"""What batch normalisation computes channel by channel, on the CPU in one pass over memory each.

Each function states its formula in plain tensor operations, and runs as a loop of loops.py where it can.
"""

import torch
from torch import Tensor

from . import kernels_norm as loops
from ._function import is_plain
from .kernels import run

LOOP_FROM = 1 << 12  # entries from which a loop pays for its call
GRAIN = 16  # channels a thread: one cache line of float32


def per_channel(v: Tensor, x: Tensor) -> Tensor:
    """Shape v (C) to broadcast over x (N, C, ...)."""
    return v.reshape(-1, *[1] * (x.dim() - 2))


def over_batch(x: Tensor) -> Tensor:
    """View x (N, C, ...) as (C, m), in float32 at least."""
    x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    return x.transpose(0, 1).reshape(x.shape[1], -1)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance (C) of x (N, C, ...)."""
    if (views := planes_or_rows(x)) is not None:
        ((v,), planes) = views
        count = x.numel() // x.shape[1]
        centre = v[0, :, 0].clone() if planes else v[0].clone()  # near the mean: squares lose no digits
        total, square = torch.zeros(2, x.shape[1], dtype=torch.float64)
        loop = loops.plane_sums if planes else loops.row_sums
        run(loop, x.shape[1], v, centre, total, square, grain=GRAIN)
        offset = total / count
        return (centre + offset).float(), (square / count - offset * offset).clamp_min_(0).float()
    var, mean = torch.var_mean(over_batch(x), 1, correction=0)
    return mean, var


def sum_and_dot(dy: Tensor, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return sum(dy) and sum(dy (x - mu)), each (C)."""
    if (views := planes_or_rows(dy, x)) is not None:
        arrays, planes = views
        total, dot = torch.zeros(2, x.shape[1], dtype=torch.float64)
        loop = loops.plane_dots if planes else loops.row_dots
        run(loop, x.shape[1], *arrays, mean, total, dot, grain=GRAIN)
        return total.float(), dot.float()
    rows = over_batch(dy)
    return rows.sum(1), (rows * (over_batch(x) - mean[:, None])).sum(1)


def affine(x: Tensor, a: Tensor, c: Tensor) -> Tensor:
    """Return a x + c, one number a channel each, in x's dtype."""
    if is_plain(a, c) and (views := planes_or_rows(x, y := torch.empty_like(x))) is not None:
        (source, target), planes = views
        loop = loops.plane_affine if planes else loops.row_affine
        run(loop, num_rows(source, planes), source, a, c, target)
        return y
    return (x * per_channel(a, x) + per_channel(c, x)).to(x.dtype)


def combine(dy: Tensor, x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return a dy + b x + c, one number a channel each, in x's dtype."""
    if (views := planes_or_rows(dy, x, dx := torch.empty_like(x))) is not None:
        (upstream, source, target), planes = views
        loop = loops.plane_combine if planes else loops.row_combine
        run(loop, num_rows(source, planes), upstream, source, a, b, c, target)
        return dx
    return (dy * per_channel(a, x) + x * per_channel(b, x) + per_channel(c, x)).to(x.dtype)


def planes_or_rows(*tensors: Tensor) -> tuple[list[Tensor], bool] | None:
    """View all as planes (N, C, M) or all as rows (N M, C), and say whether it is planes.

    None where the CPU's loops cannot or need not run.
    """
    x = tensors[0]
    if x.numel() < LOOP_FROM or not is_plain(*tensors):
        return None
    if x.dim() > 2 and all(t.is_contiguous() for t in tensors):
        return [t.view(*t.shape[:2], -1) for t in tensors], True
    innermost = [t.movedim(1, -1) for t in tensors]
    if all(t.is_contiguous() for t in innermost):
        return [t.view(-1, x.shape[1]) for t in innermost], False
    return None


def num_rows(view: Tensor, planes: bool) -> int:
    """Return what affine and combine loop over: planes, or rows."""
    return view.shape[0] * view.shape[1] if planes else view.shape[0]
