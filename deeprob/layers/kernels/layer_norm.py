"""The faster forms of the norms of rows, by the loops of norm.py.

Each equals the formula of its name in layers/layer_norm.py, and returns None where the loops cannot run; what
is not contiguous is copied for them.
"""

import torch
from torch import Tensor

from .._function import is_plain
from . import norm as loops
from .loops import run, shares


def normalise_rows(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor | None:
    """Return w h + b for x (..., D)."""
    if not suits_loop(x, weight, bias):
        return None
    rows = as_rows(x.contiguous())
    y = torch.empty_like(rows)
    run(loops.layer_norm, len(rows), rows, ones(weight, x), zeros(bias, x), eps, y)
    return y.view(x.shape)


def layer_norm_backward(
    dy: Tensor, x: Tensor, weight: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return dx, dw and db, for x (..., D)."""
    if not suits_loop(x, weight, dy):
        return None
    rows = as_rows(x.contiguous())
    dx = torch.empty_like(rows)
    num_shares, size = shares(len(rows), loops.PART)
    sums = torch.zeros(num_shares, 2, x.shape[-1])
    arrays = (as_rows(dy.contiguous()), rows, ones(weight, x), eps, dx, sums, size)
    run(loops.layer_norm_gradient, len(rows), *arrays, grain=loops.PART)
    dweight, dbias = total(sums).unbind()
    return dx.view(x.shape), dweight, dbias


def scale_rows(x: Tensor, weight: Tensor | None, eps: float) -> Tensor | None:
    """Return w h for x (..., D)."""
    if not suits_loop(x, weight):
        return None
    rows = as_rows(x.contiguous())
    y = torch.empty_like(rows)
    run(loops.rms_norm, len(rows), rows, ones(weight, x), eps, y)
    return y.view(x.shape)


def rms_norm_backward(
    dy: Tensor, x: Tensor, weight: Tensor | None, eps: float
) -> tuple[Tensor, Tensor] | None:
    """Return dx and dw, for x (..., D)."""
    if not suits_loop(x, weight, dy):
        return None
    rows = as_rows(x.contiguous())
    dx = torch.empty_like(rows)
    num_shares, size = shares(len(rows), loops.PART)
    sums = torch.zeros(num_shares, x.shape[-1])
    arrays = (as_rows(dy.contiguous()), rows, ones(weight, x), eps, dx, sums, size)
    run(loops.rms_norm_gradient, len(rows), *arrays, grain=loops.PART)
    return dx.view(x.shape), total(sums)


def suits_loop(x: Tensor, *others: Tensor | None) -> bool:
    """Whether the CPU's loops can run on these; of one number a row the formula's dx is exactly 0."""
    return is_plain(x, *others) and x.numel() > 0 and x.shape[-1] > 1


def ones(weight: Tensor | None, x: Tensor, axis: int = -1) -> Tensor:
    """Return the weight, or ones in its place, one for each entry along the axis of x."""
    return x.new_ones(x.shape[axis]) if weight is None else weight


def zeros(bias: Tensor | None, x: Tensor, axis: int = -1) -> Tensor:
    """Return the bias, or zeros in its place, one for each entry along the axis of x."""
    return x.new_zeros(x.shape[axis]) if bias is None else bias


def total(sums: Tensor) -> Tensor:
    """Add the sums that threads made."""
    return sums[0] if len(sums) == 1 else sums.sum(0)


def as_rows(x: Tensor) -> Tensor:
    """View x (..., D) as (R, D)."""
    return x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
