"""The average over windows of a map.

    y = R x C^T    dx = R^T dy C    x (N, C, H, W)   y (N, C, H', W')

An average over windows, or over the bins of an adaptive pool, separates into rows and columns: R (H', H) and
C (W', W) hold one weight for each row and column read. The global average is R = 1/H, C = 1/W. In a compiled
graph, windows side by side are added up without R and C: the compiler makes one loop of that.
Cost: one pass over x each way; saves nothing.
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.3.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect, expect_alike
from ._pooling import num_windows, windows
from ._window import Pair
from .kernels import pooling as fast

FEW = 16  # taps up to which a compiled graph adds them up one by one


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


@or_faster(fast.averages, fast.AVERAGES)
def between(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return R x C^T."""
    return rows @ x @ columns.t()


class TilesFunction(Function):
    """The average over windows side by side; rows and columns left over get nothing."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor, kernel: tuple[int, int], as_pixels: bool) -> Tensor:
        maps, size = as_maps(x, as_pixels), [n // k for n, k in zip(x.shape[-2:], kernel, strict=True)]
        ends = [n * k for n, k in zip(size, kernel, strict=True)]
        taps = [maps[:, i : ends[0] : kernel[0], j : ends[1] : kernel[1]] for i, j in places(kernel)]
        return from_maps(sum(taps[1:], taps[0]) / len(taps), [*x.shape[:-2], *size], as_pixels)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.kernel, ctx.as_pixels = inputs
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (tall, wide), (height, width) = ctx.kernel, ctx.shape[-2:]
        sizes = zip(dy.shape[-2:], ctx.kernel, strict=True)
        row, column = (torch.arange(n * k, device=dy.device) // k for n, k in sizes)
        maps = as_maps(dy / (tall * wide), ctx.as_pixels)[:, row[:, None], column]
        unread = (0, 0, 0, width - maps.shape[2], 0, height - maps.shape[1])
        return from_maps(nn.functional.pad(maps, unread), ctx.shape, ctx.as_pixels), None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        return TilesFunction.forward(x_dot, ctx.kernel, ctx.as_pixels)


def places(kernel: tuple[int, int]) -> list[tuple[int, int]]:
    """List the taps of a window."""
    return [(i, j) for i in range(kernel[0]) for j in range(kernel[1])]


def as_maps(x: Tensor, as_pixels: bool) -> Tensor:
    """View x (N, C, H, W) as maps (N, H, W, C), else (N C, H, W, 1)."""
    return x.permute(0, 2, 3, 1) if as_pixels else x.reshape(-1, *x.shape[-2:], 1)


def from_maps(maps: Tensor, shape: Sequence[int], as_pixels: bool) -> Tensor:
    """View them as (N, C, H, W) again."""
    return maps.permute(0, 3, 1, 2) if as_pixels else maps.reshape(shape)


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
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average every window of x (N, C, H, W) or (C, H, W), or divide its sum by divisor_override.

    Raises ValueError where sizes do not fit.
    """
    x = input
    kernel, stride, padding, _ = windows("avg_pool2d", x, kernel_size, stride, padding, 1)
    whole = not ceil_mode or all(n % k == 0 for n, k in zip(x.shape[-2:], kernel, strict=True))
    side_by_side = kernel == stride and max(padding) == 0 and whole and divisor_override is None
    if torch.compiler.is_compiling() and side_by_side and kernel[0] * kernel[1] <= FEW:
        as_pixels = x.dim() == 4 and fast.layout_of(x) == torch.channels_last
        tiled: Tensor = TilesFunction.apply(x, kernel, as_pixels)
        return tiled
    expect(divisor_override != 0, "avg_pool2d", "divisor_override of None, or not 0", divisor_override)
    divisors = (None, None) if divisor_override is None else (1, divisor_override)
    rows, columns = (
        window_average(*axis, ceil_mode, count_include_pad, x)
        for axis in zip(x.shape[-2:], kernel, stride, padding, divisors, strict=True)
    )
    y: Tensor = SeparableFunction.apply(x, rows, columns)
    return y


def adaptive_avg_pool2d(input: Tensor, output_size: int | tuple[int | None, int | None]) -> Tensor:
    """Average x (N, C, H, W) or (C, H, W) over output_size bins a side; None keeps a side.

    Raises ValueError where sizes do not fit.
    """
    x = input
    name = "adaptive_avg_pool2d"
    expect(x.dim() in (3, 4), name, "x (N, C, H, W) or (C, H, W)", x)
    expect_alike(name, x=x)
    sizes = (output_size, output_size) if isinstance(output_size, int) else output_size
    fits = len(sizes) == 2 and all(n is None or n >= 0 for n in sizes)
    expect(fits, name, "one or two sizes of at least 0", sizes)
    if tuple(sizes) == (1, 1) and x.dim() == 4:
        y: Tensor = GlobalAvgPoolFunction.apply(x)
        return y
    rows, columns = (
        bin_average(n, n if m is None else m, x) for n, m in zip(x.shape[-2:], sizes, strict=True)
    )
    y = SeparableFunction.apply(x, rows, columns)
    return y


def window_average(
    size: int,
    kernel: int,
    stride: int,
    padding: int,
    divisor: int | None,
    ceil_mode: bool,
    count_include_pad: bool,
    like: Tensor,
) -> Tensor:
    """Return the matrix (windows, size) that averages windows of one axis, or divides sums by `divisor`."""
    count = num_windows(size, kernel, stride, padding, 1, ceil_mode)
    first = torch.arange(count, device=like.device)[:, None] * stride - padding
    place = torch.arange(size, device=like.device)
    inside = ((place >= first) & (place < first + kernel)).to(like.dtype)
    if divisor is not None:
        return inside / divisor
    last = (first + kernel).clamp_max(size + padding)
    return inside / ((last - first) if count_include_pad else inside.sum(1, keepdim=True))


def bin_average(size: int, count: int, like: Tensor) -> Tensor:
    """Return the matrix (count, size) that averages floor(i size / count) to ceil((i + 1) size / count)."""
    i = torch.arange(count, device=like.device)[:, None]
    place = torch.arange(size, device=like.device)
    first, last = i * size // count, -(-(i + 1) * size // count)
    return ((place >= first) & (place < last)).to(like.dtype) / (last - first)


class AvgPool2d(nn.AvgPool2d):
    """As torch.nn.AvgPool2d."""

    def forward(self, input: Tensor) -> Tensor:
        window = (self.kernel_size, self.stride, self.padding)
        options = (self.ceil_mode, self.count_include_pad, self.divisor_override)
        return avg_pool2d(input, *window, *options)


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """As torch.nn.AdaptiveAvgPool2d."""

    output_size: int | tuple[int | None, int | None]

    def forward(self, input: Tensor) -> Tensor:
        return adaptive_avg_pool2d(input, self.output_size)
