"""Gradients of pointwise gates in one pass over memory, where the formula takes two or three."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ._function import is_plain
from .kernels import is_dense, run

GRAIN = 1 << 14


def one_pass(loop: Callable[..., None], y: Tensor, dy: Tensor) -> Tensor | None:
    """Return dx from the output y and its gradient, or None where a fast path may not run."""
    if not is_plain(y, dy) or y.stride() != dy.stride() or not is_dense(y):
        return None
    dx = torch.empty_like(y)
    run(loop, y.numel(), y, dy, dx, grain=GRAIN, flat=True)
    return dx


def reciprocal_gradient(start: int, stop: int, y: Any, dy: Any, dx: Any) -> None:
    """Dx = -dy y^2."""
    y, dy, dx = y[start:stop], dy[start:stop], dx[start:stop]
    for i in range(y.size):
        dx[i] = -dy[i] * y[i] * y[i]


def tanh_gradient(start: int, stop: int, y: Any, dy: Any, dx: Any) -> None:
    """Dx = dy (1 - y^2)."""
    y, dy, dx = y[start:stop], dy[start:stop], dx[start:stop]
    for i in range(y.size):
        dx[i] = dy[i] - dy[i] * y[i] * y[i]


def sigmoid_gradient(start: int, stop: int, y: Any, dy: Any, dx: Any) -> None:
    """Dx = dy y (1 - y)."""
    y, dy, dx = y[start:stop], dy[start:stop], dx[start:stop]
    for i in range(y.size):
        dx[i] = dy[i] * (y[i] - y[i] * y[i])
