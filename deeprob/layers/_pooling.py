"""What pools share: their windows, and the layouts that their loops run over."""

import torch
from torch import Tensor

from ._function import expect, expect_alike, is_plain
from ._window import Pair, pair

LOOP_FROM = 1 << 12  # entries from which a loop pays for its call


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
