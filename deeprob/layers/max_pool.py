"""The maximum over windows of a map.

    y[p] = max over k of x[s p + d k - a]    the gradient goes to the winner, of a tie the first

    x (N, C, H, W)   y (N, C, H', W')   s stride, a padding, d dilation; p, k two-dimensional

Cost: one pass over x each way; saves the winners' indices.
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.3.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ._function import Function, is_plain
from ._module import takes_only
from ._pooling import LOOP_FROM, as_loop, layout_of, num_windows, windows
from ._window import Pair
from .kernels import pool as loops
from .kernels.loops import run
from .kernels.opaque import Result, is_traced, laid_out, opaque


class MaxPool2dFunction(Function):
    """The maximum above."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(
        x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
    ) -> tuple[Tensor, Tensor]:
        """Return maxima, and winners as places in the map or (from the loops) as taps of the window."""
        if kernel[0] * kernel[1] < loops.NONE and x.numel() >= LOOP_FROM and layout_of(x) is not None:
            if is_traced(x):
                return traced_max_pool(x, kernel, stride, padding, dilation, ceil_mode)
            if is_plain(x):
                return max_pool_by_loop(x, kernel, stride, padding, dilation, ceil_mode)
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
        ctx.loops = winners.dtype == torch.uint8

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Any) -> Any:
        (winners,) = ctx.saved_tensors
        maps = dy.shape[:2]
        if ctx.loops and is_traced(dy):
            return traced_max_pool_backward(dy, winners, list(ctx.map), *ctx.window), *[None] * 5
        if ctx.loops and is_plain(dy):
            return max_pool_backward_by_loop(dy, winners, ctx.map, *ctx.window), *[None] * 5
        places = places_of(winners, ctx.map, *ctx.window)
        dx = dy.new_zeros(*maps, ctx.map.numel())
        dx = dx.scatter_add(2, places.flatten(2), dy.flatten(2))  # windows may overlap
        return dx.reshape(*maps, *ctx.map), None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        (winners,) = ctx.saved_tensors
        places = places_of(winners, ctx.map, *ctx.window)
        return x_dot.flatten(2).gather(2, places.flatten(2)).view(places.shape), None


def max_pool_by_loop(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    """Return maxima, in the layout of x, and the number of each one's tap."""
    layout = layout_of(x) or torch.contiguous_format
    y = torch.empty(pooled_shape(x, kernel, stride, padding, dilation, ceil_mode), memory_format=layout)
    taps = torch.empty_like(y, dtype=torch.uint8)
    loop = loops.max_planes if layout == torch.contiguous_format else loops.max_rows
    source, target, numbers = (as_loop(t, layout) for t in (x, y, taps))
    run(loop, len(source), source, kernel, stride, padding, dilation, target, numbers)
    return y, taps


def max_pool_backward_by_loop(
    dy: Tensor,
    taps: Tensor,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Return dx (N, C, H, W) of the size (H, W), in the layout of the taps."""
    layout = layout_of(taps) or torch.contiguous_format
    dx = torch.empty(*dy.shape[:2], *size, memory_format=layout)
    planes = layout == torch.contiguous_format
    loop = loops.max_planes_gradient if planes else loops.max_rows_gradient
    upstream, numbers, target = (as_loop(t, layout) for t in (laid_out(dy, taps), taps, dx))
    run(loop, len(target), upstream, numbers, kernel, stride, padding, dilation, target)
    return dx


def pooled_shape(
    x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> list[int]:
    """Return (N, C, H', W')."""
    sizes = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    return [*x.shape[:2], *(num_windows(*window, ceil_mode) for window in sizes)]


def pooled(x: Tensor, *window: Any) -> list[Result]:
    """Describe maxima and taps."""
    shape = pooled_shape(x, *window)
    return [Result(shape, x), Result(shape, x, torch.uint8)]


def unpooled(dy: Tensor, taps: Tensor, size: Sequence[int], *_: Any) -> list[Result]:
    """Describe dx."""
    return [Result([*dy.shape[:2], *size], taps)]


traced_max_pool = opaque("max_pool2d", pooled)(max_pool_by_loop)
traced_max_pool_backward = opaque("max_pool2d_backward", unpooled)(max_pool_backward_by_loop)


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


@takes_only(return_indices=False)
class MaxPool2d(nn.MaxPool2d):
    """As torch.nn.MaxPool2d, without the indices."""

    def forward(self, x: Tensor) -> Tensor:
        return max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
