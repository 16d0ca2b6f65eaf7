"""What pools share: their windows."""

from torch import Tensor

from ._function import expect, expect_alike
from ._window import Pair, pair


def windows(
    name: str, x: Tensor, kernel_size: Pair, stride: Pair | None, padding: Pair, dilation: Pair
) -> tuple[tuple[int, int], ...]:
    """Return kernel, stride, padding and dilation as pairs, having checked them against x."""
    expect(x.dim() in (3, 4), name, "x (N, C, H, W) or (C, H, W)", x)
    expect_alike(name, x=x)
    kernel, padding, dilation = pair(kernel_size), pair(padding), pair(dilation)
    stride = kernel if stride is None or stride == () else pair(stride)
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
