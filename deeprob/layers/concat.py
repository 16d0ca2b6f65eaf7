"""Concatenation along one axis, and splitting along it: each is the other's gradient.

    concat    y = [x_1 | ... | x_n]        dx_i = the part of dy where x_i lies
    split     x = [y_1 | ... | y_n]        dx = [dy_1 | ... | dy_n]

    x_i (..., s_i, ...) alike but for s_i; y (..., s_1 + ... + s_n, ...)

Every number goes to one place, so its gradient comes back from there, unchanged.
Cost: concat copies its inputs, its gradient is views of dy; split the other way round. Saves nothing.
Source: Ronneberger et al. 2015, U-Net, figure 1 (the skip connections that join channels).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._function import Function, expect, expect_alike


class ConcatFunction(Function):
    """y = [x_1 | ... | x_n] along axis `dim`."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(dim: int, *xs: Tensor) -> Tensor:
        return torch.cat(xs, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.dim, *xs = inputs
        ctx.sizes = [x.shape[ctx.dim] for x in xs]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return None, *dy.split_with_sizes(ctx.sizes, ctx.dim)

    @staticmethod
    def tangent(ctx: Any, _: None, *x_dots: Tensor) -> Any:
        return torch.cat(x_dots, ctx.dim)


class SplitFunction(Function):
    """[y_1 | ... | y_n] = x along axis `dim`; the parts share x's memory."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor, sizes: list[int], dim: int) -> tuple[Tensor, ...]:
        return parts_of(x, sizes, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, ctx.sizes, ctx.dim = inputs

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> Any:
        return torch.cat(dys, ctx.dim), None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: None) -> Any:
        return parts_of(x_dot, ctx.sizes, ctx.dim)


def parts_of(x: Tensor, sizes: list[int], dim: int) -> tuple[Tensor, ...]:
    """Return the parts, which share x's memory, yet are no views to autograd (as in gates.py's copy)."""
    alias: Any = torch.ops.aten._unsafe_view
    return tuple(alias(part, part.shape) for part in x.split_with_sizes(sizes, dim))


def concat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return the tensors joined along axis `dim`, in which alone their shapes may differ.

    Raises ValueError where there is no tensor, or where axes, shapes, dtypes or devices do not fit.
    """
    name = "concat"
    expect(len(tensors) > 0, name, "at least one tensor", "none")
    for i, x in enumerate(tensors):
        expect(isinstance(x, Tensor), name, f"tensor {i}", x)
    first = tensors[0]
    dim = _expect_axis(name, first, dim)
    expect_alike(name, first=first)
    before, after = first.shape[:dim], first.shape[dim + 1 :]
    for i, x in enumerate(tensors[1:], 1):
        if x.shape[:dim] != before or x.shape[dim + 1 :] != after or x.dim() != first.dim():
            expect(False, name, f"tensor {i} as the first, {tuple(first.shape)}, is but along axis {dim}", x)
        expect_alike(name, **{"first": first, f"tensor {i}": x})
    y: Tensor = ConcatFunction.apply(dim, *tensors)
    return y


def split(x: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Return x in parts along axis `dim`: of the sizes listed, or of one size, the last being what is left.

    The parts share x's memory. Raises ValueError where the axis or the sizes do not fit.
    """
    name = "split"
    dim = _expect_axis(name, x, dim)
    expect_alike(name, x=x)
    length, sizes = x.shape[dim], split_size_or_sections
    if isinstance(sizes, int):
        expect(sizes > 0, name, "a size above 0", sizes)
        sizes = [min(sizes, length - start) for start in range(0, max(length, 1), sizes)]
    fits = len(sizes) > 0 and min(sizes) >= 0 and sum(sizes) == length
    expect(fits, name, f"sizes that add up to {length}, the length of axis {dim}", list(sizes))
    parts: tuple[Tensor, ...] = SplitFunction.apply(x, list(sizes), dim)
    return parts


def _expect_axis(layer: str, x: Tensor, dim: int) -> int:
    """Return `dim` counted from the front. Raises ValueError where x has no such axis."""
    expect(-x.dim() <= dim < x.dim(), layer, f"an axis of {tuple(x.shape)}", f"dim={dim}")
    return dim % x.dim()
