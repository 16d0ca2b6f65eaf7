"""The loops of the losses: each entry is read once a way, and sums are kept a block.

The blocks are the same whatever the threads, and so is what comes out.
"""

from typing import Any

import numpy as np

from .kernels import ZERO

BLOCK = 4096  # entries whose losses are summed as one, so that float32 suffices
HALF, TWO = np.float32(0.5), np.float32(2)


def count_blocks(size: int) -> int:
    """Return how many blocks `size` entries make."""
    return -(-size // BLOCK)


def squared_errors(start: int, stop: int, x: Any, t: Any, share: float, sums: Any) -> None:
    """Sum d^2 share, d = x - t, over every block from start to stop."""
    for b in range(start, stop):
        here, there = x[b * BLOCK : (b + 1) * BLOCK], t[b * BLOCK : (b + 1) * BLOCK]
        total = ZERO
        for i in range(here.size):
            d = here[i] - there[i]
            total += d * d
        sums[b] = total * np.float32(share)


def squared_error_gradient(start: int, stop: int, x: Any, t: Any, dy: Any, share: float, dx: Any) -> None:
    """Dx = 2 d dy share."""
    x, t, dx = x[start:stop], t[start:stop], dx[start:stop]
    scale = TWO * dy[0] * np.float32(share)
    for i in range(x.size):
        dx[i] = scale * (x[i] - t[i])


def smooth_errors(start: int, stop: int, x: Any, t: Any, beta: float, share: float, sums: Any) -> None:
    """Sum c (d - c / 2) / beta share, c = clip(d, -beta, beta), over every block from start to stop."""
    high, low = np.float32(beta), np.float32(-beta)
    for b in range(start, stop):
        here, there = x[b * BLOCK : (b + 1) * BLOCK], t[b * BLOCK : (b + 1) * BLOCK]
        total = ZERO
        for i in range(here.size):
            d = here[i] - there[i]
            c = low if d < low else d
            c = high if c > high else c
            total += c * (d - HALF * c)
        sums[b] = total / high * np.float32(share)


def smooth_error_gradient(
    start: int, stop: int, x: Any, t: Any, beta: float, dy: Any, share: float, dx: Any
) -> None:
    """Dx = c / beta dy share."""
    x, t, dx = x[start:stop], t[start:stop], dx[start:stop]
    high, low = np.float32(beta), np.float32(-beta)
    scale = dy[0] * np.float32(share) / high
    for i in range(x.size):
        d = x[i] - t[i]
        d = low if d < low else d
        d = high if d > high else d
        dx[i] = scale * d
