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

from ._fast import or_faster
from ._function import Function
from ._pooling import windows
from ._window import Pair
from .kernels import pooling as fast


class MaxPool2dFunction(Function):
    """The maximum above."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(
        x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
    ) -> tuple[Tensor, Tensor]:
        return max_pool(x, kernel, stride, padding, dilation, ceil_mode)

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
        dx = max_pool_backward(dy, winners, ctx.map, *ctx.window)
        return dx, None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        (winners,) = ctx.saved_tensors
        places = places_of(winners, ctx.map, *ctx.window)
        return x_dot.flatten(2).gather(2, places.flatten(2)).view(places.shape), None


@or_faster(fast.max_pool, fast.MAX_POOL)
def max_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    """Return maxima, and winners: as places in the map, or (the faster form) as taps of the window."""
    window: Any = (kernel, stride, padding, dilation, ceil_mode)
    y, places = nn.functional.max_pool2d(x, *window, return_indices=True)
    return y, places


@or_faster(fast.max_pool_backward, fast.MAX_POOL_BACKWARD)
def max_pool_backward(
    dy: Tensor,
    winners: Tensor,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Return dx (N, C, H, W) of the size (H, W): zeros, and dy at the winners."""
    places = places_of(winners, size, kernel, stride, padding, dilation)
    dx = dy.new_zeros(*dy.shape[:2], size[0] * size[1])
    dx = dx.scatter_add(2, places.flatten(2), dy.flatten(2))  # windows may overlap
    return dx.reshape(*dy.shape[:2], *size)


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
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Take the maximum of every window of x (N, C, H, W) or (C, H, W).

    With return_indices, return the winners too, as places in the map, row by row.
    Raises ValueError where sizes do not fit.
    """
    x = input
    kernel, stride, padding, dilation = windows("max_pool2d", x, kernel_size, stride, padding, dilation)
    if x.dim() == 3:
        found = max_pool2d(x[None], kernel, stride, padding, dilation, ceil_mode, return_indices)
        return tuple(t.squeeze(0) for t in found) if return_indices else found.squeeze(0)
    y, winners = MaxPool2dFunction.apply(x, kernel, stride, padding, dilation, ceil_mode)
    if return_indices:
        return y, places_of(winners, x.shape[-2:], kernel, stride, padding, dilation)
    return y


class MaxPool2d(nn.MaxPool2d):
    """As torch.nn.MaxPool2d."""

    def forward(self, input: Tensor) -> Any:
        window = (self.kernel_size, self.stride, self.padding, self.dilation)
        return max_pool2d(input, *window, self.ceil_mode, self.return_indices)
