"""The average over windows of a map.

    y = R x C^T    dx = R^T dy C    x (N, C, H, W)   y (N, C, H', W')

An average over windows, or over the bins of an adaptive pool, separates into rows and columns: R (H', H) and
C (W', W) hold one weight for each row and column read. The global average is R = 1/H, C = 1/W.
Cost: one pass over x each way; saves nothing.
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.3.
"""

from typing import Any

import torch
from torch import Tensor, nn

from . import kernels_pool as loops
from ._function import Function, expect, expect_alike
from ._pooling import as_loop, loop_layout, num_windows, windows
from ._window import Pair
from .kernels import run
from .opaque import Result, is_traced, opaque


class SeparableFunction(Function):
    """y = R x C^T over the last two axes, R and C constant."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        return between(x, rows, columns)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, rows, columns = inputs
        ctx.save_for_backward(rows, columns)
        ctx.save_for_forward(rows, columns)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        rows, columns = ctx.saved_tensors
        return between(dy, rows.t(), columns.t()), None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        rows, columns = ctx.saved_tensors
        return between(x_dot, rows, columns)


def between(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return R x C^T; of maps with channels innermost by a loop that skips the zeros of R and C."""
    if x.dim() == 4 and is_traced(x):
        return traced_between(x, rows, columns)
    if loop_layout(x) == torch.channels_last:
        y = torch.empty(*x.shape[:2], len(rows), len(columns), memory_format=torch.channels_last)
        source, target = (as_loop(t, torch.channels_last) for t in (x, y))
        run(loops.average_rows, len(x), source, rows.contiguous(), columns.contiguous(), target)
        return y
    product: Tensor = rows @ x @ columns.t()
    return product


def averages(x: Tensor, rows: Tensor, columns: Tensor) -> list[Result]:
    """Describe y (N, C, H', W'), which lies as x does."""
    return [Result([*x.shape[:2], len(rows), len(columns)], x)]


traced_between = opaque("average", averages)(between)


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
    count = num_windows(size, kernel, stride, padding, 1, ceil_mode)
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
