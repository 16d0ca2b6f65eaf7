"""The faster forms of what batch norm computes channel by channel: as few passes over memory as can be.

They run as loops over planes (batch_norm.py) or over rows (batch_norm_rows.py), in bfloat16 too; other half
precision is widened first. Each equals the formula of its name in layers/batch_norm.py or sync_batch_norm.py,
and returns None where the loops cannot or need not run.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import is_narrow, is_plain
from . import batch_norm as over_planes
from . import batch_norm_rows as over_rows
from .loops import run

LOOP_FROM = 1 << 12  # entries from which a loop pays for its call
GRAIN = 16  # channels a thread: one cache line of float32
WIDE = 1024  # columns up to which pixels are taken as one row


def moments(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return mean and biased variance (C) of x (N, C, ...)."""
    x = x.float() if is_narrow(x) else x
    if (views := planes_or_rows(x, wide=True)) is None:
        return None
    ((v,), planes) = views
    channels = x.shape[1]
    mean, var = torch.empty(2, channels).unbind()
    if planes:
        run(over_planes.plane_moments, channels, v, mean, var, grain=GRAIN)
    else:
        parts = torch.empty(over_rows.count_parts(v.shape[0]), 2, v.shape[1])
        run(over_rows.row_sums, parts.shape[0], v, channels, parts)
        run(over_rows.fold_moments, 1, parts, v, mean, var)
    return mean, var


def normalise(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, eps: float
) -> Tensor | None:
    """Return w h + b."""
    if is_narrow(x):
        wide = normalise(x.float(), weight, bias, mean, var, eps)
        return None if wide is None else wide.to(x.dtype)
    if not is_plain(weight, bias, mean, var):
        return None
    if (views := planes_or_rows(x, y := torch.empty_like(x), wide=True)) is None:
        return None
    (source, target), planes = views
    loop = over_planes.plane_normalise if planes else over_rows.row_normalise
    run(loop, num_rows(source, planes), source, weight, bias, mean, var, eps, target)
    return y


def batch_norm_backward(
    dy: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, var: Tensor, eps: float, training: bool
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return dx, dw and db."""
    if is_narrow(x):
        wide = batch_norm_backward(dy.float(), x.float(), weight, mean, var, eps, training)
        return None if wide is None else (wide[0].to(x.dtype), *wide[1:])
    if not is_plain(weight, mean, var):
        return None
    if (views := planes_or_rows(dy, x, dx := torch.empty_like(x), wide=True)) is None:
        return None
    (upstream, source, target), planes = views
    channels = x.shape[1]
    dweight, dbias = torch.empty(2, channels).unbind()
    if planes:
        arrays: tuple[Any, ...] = (upstream, source, weight, mean, var, eps, training)
        arrays += (target, dweight, dbias)
        run(over_planes.plane_gradient, channels, *arrays, grain=GRAIN)
        return dx, dweight, dbias
    parts = torch.empty(over_rows.count_parts(source.shape[0]), 2, source.shape[1])
    if not training:
        arrays = (upstream, source, weight, mean, var, eps, target, parts)
        run(over_rows.row_constant_gradient, parts.shape[0], *arrays)
        run(over_rows.fold_dots, 1, parts, dbias, dweight)
        return dx, dweight.mul_((var + eps).rsqrt_()), dbias
    run(over_rows.row_dots, parts.shape[0], upstream, source, mean, parts)
    arrays = (upstream, source, weight, mean, var, eps, parts, target, dweight, dbias)
    run(over_rows.row_gradient, source.shape[0], *arrays)
    return dx, dweight, dbias


def sum_and_dot(dy: Tensor, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return sum(dy) and sum(dy (x - mu)), each (C)."""
    if not is_plain(mean) or (views := planes_or_rows(dy, x, wide=True)) is None:
        return None
    (upstream, source), planes = views
    total, dot = torch.empty(2, x.shape[1]).unbind()
    if planes:
        run(over_planes.plane_dots, x.shape[1], upstream, source, mean, total, dot, grain=GRAIN)
    else:
        parts = torch.empty(over_rows.count_parts(source.shape[0]), 2, source.shape[1])
        run(over_rows.row_dots, parts.shape[0], upstream, source, mean, parts)
        run(over_rows.fold_dots, 1, parts, total, dot)
    return total, dot


def combine(dy: Tensor, x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor | None:
    """Return a dy + b x + c, one number a channel each, in x's dtype."""
    if not is_plain(a, b, c):
        return None
    if (views := planes_or_rows(dy, x, dx := torch.empty_like(x), wide=True)) is None:
        return None
    (upstream, source, target), planes = views
    loop = over_planes.plane_combine if planes else over_rows.row_combine
    run(loop, num_rows(source, planes), upstream, source, a, b, c, target)
    return dx


def planes_or_rows(*tensors: Tensor, wide: bool = False) -> tuple[list[Tensor], bool] | None:
    """View all as planes (N, C, M) or all as rows (N M, C), and say whether it is planes.

    wide: rows (R, k C) of several pixels each, where channels are few. None where the CPU's loops cannot or
    need not run.
    """
    x = tensors[0]
    if x.numel() < LOOP_FROM or not is_plain(*tensors, bfloat16=True):
        return None
    if x.dim() > 2 and all(t.is_contiguous() for t in tensors):
        return [t.view(*t.shape[:2], -1) for t in tensors], True
    innermost = x.dim() == 2 or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
    if not innermost or any(t.stride() != x.stride() for t in tensors) or x.stride(1) != 1:
        return None
    num_rows, length = x.numel() // x.shape[1], x.shape[1]
    if x.dim() == 2 and x.stride(0) != length:
        return None
    while wide and num_rows % 2 == 0 and 2 * length <= WIDE:
        num_rows, length = num_rows // 2, 2 * length
    return [t.as_strided((num_rows, length), (length, 1)) for t in tensors], False


def num_rows(view: Tensor, planes: bool) -> int:
    """Return what normalise and combine loop over: planes, or rows."""
    return view.shape[0] * view.shape[1] if planes else view.shape[0]
