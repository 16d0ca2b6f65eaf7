"""Pooling over windows of a map.

    max       y[p] = max over k of x[s p + d k - a]    the gradient goes to the winner, of a tie the first
    average   y = R x C^T                              dx = R^T dy C

    x (N, C, H, W)   y (N, C, H', W')   s stride, a padding, d dilation; p, k two-dimensional

An average over windows, or over the bins of an adaptive pool, separates into rows and columns: R (H', H) and
C (W', W) hold one weight for each row and column read. The global average is R = 1/H, C = 1/W.
Cost: one pass over x each way; max saves the winners' indices, average saves nothing.
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.3.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._function import Function, expect, expect_alike
from ._window import Pair, pair


class MaxPool2dFunction(Function):
    """The maximum above."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(
        x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
    ) -> tuple[Tensor, Tensor]:
        y, winners = nn.functional.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode, True)
        return y, winners

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        _, winners = output
        ctx.mark_non_differentiable(winners)
        ctx.save_for_backward(winners)
        ctx.save_for_forward(winners)
        ctx.map = inputs[0].shape[-2:]

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Any) -> Any:
        (winners,) = ctx.saved_tensors
        maps = dy.shape[:2]
        dx = dy.new_zeros(*maps, ctx.map.numel())
        dx = dx.scatter_add(2, winners.flatten(2), dy.flatten(2))  # windows may overlap
        return dx.reshape(*maps, *ctx.map), None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        (winners,) = ctx.saved_tensors
        return x_dot.flatten(2).gather(2, winners.flatten(2)).view_as(winners), None


class SeparableFunction(Function):
    """y = R x C^T over the last two axes, R and C constant."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        return rows @ x @ columns.t()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, rows, columns = inputs
        ctx.save_for_backward(rows, columns)
        ctx.save_for_forward(rows, columns)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        rows, columns = ctx.saved_tensors
        return rows.t() @ dy @ columns, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        rows, columns = ctx.saved_tensors
        return rows @ x_dot @ columns.t()


class GlobalAvgPoolFunction(Function):
    """The average of a whole map: every entry gets an equal share of the gradient."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return (dy / ctx.shape[2:].numel()).expand(ctx.shape)  # a view: one number a map

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor) -> Any:
        return x_dot.mean((2, 3), keepdim=True)


def max_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Take the maximum of every window of x (N, C, H, W) or (C, H, W).

    Raises ValueError where sizes do not fit.
    """
    kernel, stride, padding, dilation = windows("max_pool2d", x, kernel_size, stride, padding, dilation)
    if x.dim() == 3:
        return max_pool2d(x[None], kernel, stride, padding, dilation, ceil_mode).squeeze(0)
    y: Tensor = MaxPool2dFunction.apply(x, kernel, stride, padding, dilation, ceil_mode)[0]
    return y


def avg_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Average every window of x (N, C, H, W) or (C, H, W). Raises ValueError where sizes do not fit."""
    kernel, stride, padding, _ = windows("avg_pool2d", x, kernel_size, stride, padding, 1)
    rows, columns = (
        window_average(*w, ceil_mode, count_include_pad, x)
        for w in zip(x.shape[-2:], kernel, stride, padding, strict=True)
    )
    y: Tensor = SeparableFunction.apply(x, rows, columns)
    return y


def adaptive_avg_pool2d(x: Tensor, output_size: int | tuple[int | None, int | None]) -> Tensor:
    """Average x (N, C, H, W) or (C, H, W) over output_size bins a side; None keeps a side.

    Raises ValueError where sizes do not fit.
    """
    name = "adaptive_avg_pool2d"
    expect(x.dim() in (3, 4), name, "x (N, C, H, W) or (C, H, W)", x)
    expect_alike(name, x=x)
    sizes = (output_size, output_size) if isinstance(output_size, int) else output_size
    expect(len(sizes) == 2, name, "one or two sizes", sizes)
    if tuple(sizes) == (1, 1) and x.dim() == 4:
        y: Tensor = GlobalAvgPoolFunction.apply(x)
        return y
    rows, columns = (
        bin_average(n, n if m is None else m, x) for n, m in zip(x.shape[-2:], sizes, strict=True)
    )
    y = SeparableFunction.apply(x, rows, columns)
    return y


def window_average(
    size: int, kernel: int, stride: int, padding: int, ceil_mode: bool, count_include_pad: bool, like: Tensor
) -> Tensor:
    """Return the matrix (windows, size) that averages windows of one axis."""
    span = size + 2 * padding - kernel
    count = (span + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1  # a window starts inside the map or its left padding
    first = torch.arange(count, device=like.device)[:, None] * stride - padding
    place = torch.arange(size, device=like.device)
    inside = ((place >= first) & (place < first + kernel)).to(like.dtype)
    last = (first + kernel).clamp_max(size + padding)
    return inside / ((last - first) if count_include_pad else inside.sum(1, keepdim=True))


def bin_average(size: int, count: int, like: Tensor) -> Tensor:
    """Return the matrix (count, size) that averages floor(i size / count) to ceil((i + 1) size / count)."""
    i = torch.arange(count, device=like.device)[:, None]
    place = torch.arange(size, device=like.device)
    first, last = i * size // count, -(-(i + 1) * size // count)
    return ((place >= first) & (place < last)).to(like.dtype) / (last - first)


def windows(
    name: str, x: Tensor, kernel_size: Pair, stride: Pair | None, padding: Pair, dilation: Pair
) -> tuple[tuple[int, int], ...]:
    """Return kernel, stride, padding and dilation as pairs, having checked them against x."""
    expect(x.dim() in (3, 4), name, "x (N, C, H, W) or (C, H, W)", x)
    expect_alike(name, x=x)
    kernel, padding, dilation = pair(kernel_size), pair(padding), pair(dilation)
    stride = kernel if stride is None else pair(stride)
    expect(min(stride) > 0, name, "a positive stride", stride)
    fits = all(2 * a <= k for a, k in zip(padding, kernel, strict=True))
    expect(fits, name, f"padding of at most half the window {kernel}", padding)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    fits = all(n + 2 * a >= r for n, a, r in zip(x.shape[-2:], padding, reach, strict=True))
    expect(fits, name, f"a map of at least {reach[0]}x{reach[1]} with its padding", x)
    return kernel, stride, padding, dilation


class MaxPool2d(nn.Module):
    """As torch.nn.MaxPool2d, without the indices."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        expect(not return_indices, "MaxPool2d", "return_indices=False", return_indices)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.dilation, self.ceil_mode = dilation, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(nn.Module):
    """As torch.nn.AvgPool2d."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        window = (self.kernel_size, self.stride, self.padding)
        return avg_pool2d(x, *window, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(nn.Module):
    """As torch.nn.AdaptiveAvgPool2d."""

    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
