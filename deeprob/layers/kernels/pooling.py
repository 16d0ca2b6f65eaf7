"""The faster forms of the pools, by the loops of pool.py, for maps in planes and in pixels.

Each equals the formula of its name in layers/max_pool.py or avg_pool.py, and returns None where the loops
cannot or need not run.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .._function import is_plain
from .._pooling import num_windows
from . import pool as loops
from .loops import run
from .opaque import Operation, Result, laid_out

LOOP_FROM = 1 << 12  # entries from which a loop pays for its call
GRAIN = 16  # planes a thread


def max_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[Tensor, Tensor] | None:
    """Return maxima, in the layout of x, and the number of each one's tap."""
    if not suits(x, kernel) or not is_plain(x):
        return None
    layout = layout_of(x) or torch.contiguous_format
    y = torch.empty(pooled_shape(x, kernel, stride, padding, dilation, ceil_mode), memory_format=layout)
    taps = torch.empty_like(y, dtype=torch.uint8)
    loop = loops.max_planes if layout == torch.contiguous_format else loops.max_rows
    source, target, numbers = (as_loop(t, layout) for t in (x, y, taps))
    run(loop, len(source), source, kernel, stride, padding, dilation, target, numbers)
    return y, taps


def max_pool_backward(
    dy: Tensor,
    winners: Tensor,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor | None:
    """Return dx (N, C, H, W) of the size (H, W), in the layout of the winners, which are taps."""
    if winners.dtype != torch.uint8 or not is_plain(dy):
        return None
    layout = layout_of(winners) or torch.contiguous_format
    dx = torch.empty(*dy.shape[:2], *size, memory_format=layout)
    planes = layout == torch.contiguous_format
    loop = loops.max_planes_gradient if planes else loops.max_rows_gradient
    upstream, numbers, target = (as_loop(t, layout) for t in (laid_out(dy, winners), winners, dx))
    run(loop, len(target), upstream, numbers, kernel, stride, padding, dilation, target)
    return dx


def averages(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor | None:
    """Return R x C^T by a loop that skips the zeros of R and C."""
    if not is_plain(x) or x.dim() != 4 or x.numel() < LOOP_FROM or (layout := layout_of(x)) is None:
        return None
    y = torch.empty(*x.shape[:2], len(rows), len(columns), memory_format=layout)
    matrices = (rows.contiguous(), columns.contiguous())
    source, target = (as_loop(t, layout) for t in (x, y))
    if layout == torch.channels_last:
        pixels = (source.flatten(2), *matrices, x.shape[1], target.flatten(2))
        run(loops.average_pixels, len(x), *pixels)
    else:
        run(loops.average_planes, len(source), source, *matrices, target.flatten(1), grain=GRAIN)
    return y


def suits(x: Tensor, kernel: Sequence[int]) -> bool:
    """Whether a loop can and should run over a map: its taps are numbered in a byte."""
    return kernel[0] * kernel[1] < loops.NONE and x.numel() >= LOOP_FROM and layout_of(x) is not None


def layout_of(x: Tensor) -> torch.memory_format | None:
    """Return how a map is stored, if without gaps."""
    if x.is_contiguous():
        return torch.contiguous_format
    return torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else None


def as_loop(x: Tensor, layout: torch.memory_format) -> Tensor:
    """View a map as planes (N C, H, W), or with its channels innermost (N, H, W, C)."""
    return x.flatten(0, 1) if layout == torch.contiguous_format else x.permute(0, 2, 3, 1)


def pooled_shape(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> list[int]:
    """Return (N, C, H', W')."""
    sizes = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    return [*x.shape[:2], *(num_windows(*window, ceil_mode) for window in sizes)]


def pooled(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> list[Result]:
    """Describe maxima and taps."""
    shape = pooled_shape(x, kernel, stride, padding, dilation, ceil_mode)
    return [Result(shape, x), Result(shape, x, torch.uint8)]


MAX_POOL = Operation("max_pool2d", pooled, lambda x, kernel, *_: suits(x, kernel))
MAX_POOL_BACKWARD = Operation(
    "max_pool2d_backward",
    lambda dy, winners, size, *_: [Result([*dy.shape[:2], *size], winners)],
    lambda dy, winners, *_: winners.dtype == torch.uint8,
)
AVERAGES = Operation(
    "average",
    lambda x, rows, columns: [Result([*x.shape[:2], len(rows), len(columns)], x)],
    lambda x, *_: x.dim() == 4,
)
