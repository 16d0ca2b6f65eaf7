"""The faster forms of group norm, by the loops of norm.py, for maps in planes and in pixels.

Of a compiled graph only for pixels, as the compiler makes good loops over planes.
"""

import torch
from torch import Tensor

from .._function import is_plain
from . import norm as loops
from .layer_norm import ones, zeros
from .loops import run
from .opaque import Operation, Result, laid_out


def normalise_groups(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor | None:
    """Return w h + b, in the layout of x."""
    if layout_of(x) is None or not is_plain(x, weight, bias):
        return None
    y, loop = torch.empty_like(x), loops.group_norm if x.is_contiguous() else loops.group_norm_rows
    run(loop, len(x), samples(x), groups, ones(weight, x, 1), zeros(bias, x, 1), eps, samples(y))
    return y


def group_norm_backward(
    dy: Tensor, x: Tensor, groups: int, weight: Tensor | None, eps: float, layout: str | None
) -> tuple[Tensor, Tensor] | None:
    """Return dx, in the layout of x, and dw and db side by side (2, C)."""
    if layout is None or not is_plain(dy, x, weight):
        return None
    dx, parts = torch.empty_like(x), x.new_empty(2, *x.shape[:2])
    loop = loops.group_norm_gradient if x.is_contiguous() else loops.group_norm_rows_gradient
    arrays = (samples(laid_out(dy, x)), samples(x), groups, ones(weight, x, 1), eps, samples(dx), parts)
    run(loop, len(x), *arrays)
    return dx, parts.sum(1)


def layout_of(x: Tensor) -> str | None:
    """Say whether x (N, C, ...) lies in "planes" or in "pixels", which the CPU's loops can run over."""
    if x.is_contiguous():
        return "planes"
    return "pixels" if x.movedim(1, -1).is_contiguous() else None


def samples(x: Tensor) -> Tensor:
    """View planes as (N, C, M), pixels as (N, M, C)."""
    return x.view(*x.shape[:2], -1) if x.is_contiguous() else x.movedim(1, -1).flatten(1, -2)


NORMALISE = Operation(
    "group_norm", lambda x, *_: [Result(x.shape, x)], lambda x, *_: layout_of(x) == "pixels"
)
BACKWARD = Operation(
    "group_norm_backward",
    lambda dy, x, *_: [Result(x.shape, x), Result([2, x.shape[1]])],
    lambda *given: given[-1] == "pixels",
)
