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

from . import kernels_pool as loops
from ._function import Function, expect, expect_alike, is_plain
from ._window import Pair, pair
from .kernels import run
from .opaque import is_traced, opaque


class MaxPool2dFunction(Function):
    """The maximum above."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(
        x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
    ) -> tuple[Tensor, Tensor]:
        """Return maxima, and winners as places in the map or (from the loops) as taps of the window."""
        if (layout := loop_layout(x)) is not None and kernel[0] * kernel[1] < loops.NONE:
            sizes = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
            size = [num_windows(*window, ceil_mode) for window in sizes]
            y = torch.empty(*x.shape[:2], *size, memory_format=layout)
            taps = torch.empty_like(y, dtype=torch.uint8)
            loop = loops.max_planes if layout == torch.contiguous_format else loops.max_rows
            source, target, numbers = (as_loop(t, layout) for t in (x, y, taps))
            run(loop, len(source), source, kernel, stride, padding, dilation, target, numbers)
            return y, taps
        y, places = nn.functional.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode, True)
        return y, places

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, *ctx.window, _ = inputs
        _, winners = output
        ctx.mark_non_differentiable(winners)
        ctx.save_for_backward(winners)
        ctx.save_for_forward(winners)
        ctx.map = x.shape[-2:]

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Any) -> Any:
        (winners,) = ctx.saved_tensors
        maps = dy.shape[:2]
        if winners.dtype == torch.uint8 and (layout := layout_of(winners)) is not None and is_plain(dy):
            dx = torch.empty(*maps, *ctx.map, memory_format=layout)
            planes = layout == torch.contiguous_format
            loop = loops.max_planes_gradient if planes else loops.max_rows_gradient
            dy = dy.contiguous(memory_format=layout)
            upstream, taps, target = (as_loop(t, layout) for t in (dy, winners, dx))
            run(loop, len(target), upstream, taps, *ctx.window, target)
            return dx, None, None, None, None, None
        places = places_of(winners, ctx.map, *ctx.window)
        dx = dy.new_zeros(*maps, ctx.map.numel())
        dx = dx.scatter_add(2, places.flatten(2), dy.flatten(2))  # windows may overlap
        return dx.reshape(*maps, *ctx.map), None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        (winners,) = ctx.saved_tensors
        places = places_of(winners, ctx.map, *ctx.window)
        return x_dot.flatten(2).gather(2, places.flatten(2)).view(places.shape), None


def places_of(winners: Tensor, size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Tensor:
    """Turn taps of windows into places in the map, row by row."""
    if winners.dtype != torch.uint8:
        return winners
    tap = winners.long()
    grid = [torch.arange(n, device=tap.device) for n in winners.shape[2:]]
    row = (grid[0] * stride[0] - padding[0])[:, None] + tap // kernel[1] * dilation[0]
    column = grid[1] * stride[1] - padding[1] + tap % kernel[1] * dilation[1]
    places: Tensor = row * size[1] + column
    return places.contiguous()


def num_windows(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """Count the windows of one axis; the last may reach beyond the map but not start there."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (span + (stride - 1 if ceil_mode else 0)) // stride + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= size + padding else count


def layout_of(x: Tensor) -> torch.memory_format | None:
    """Return how a map is stored, if without gaps."""
    if x.is_contiguous():
        return torch.contiguous_format
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else None


def loop_layout(x: Tensor) -> torch.memory_format | None:
    """Return how a map is stored if the CPU's loops can and should run over it."""
    return layout_of(x) if is_plain(x) and x.dim() == 4 and x.numel() >= LOOP_FROM else None


def as_loop(x: Tensor, layout: torch.memory_format) -> Tensor:
    """View a map as planes (N C, H, W), or with its channels innermost (N, H, W, C)."""
    return x.flatten(0, 1) if layout == torch.contiguous_format else x.permute(0, 2, 3, 1)


LOOP_FROM = 1 << 12  # entries from which a loop pays for its call


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


traced_between = opaque(lambda x, rows, columns: [*x.shape[:2], len(rows), len(columns)], keeps_layout=True)(
    between
)


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
