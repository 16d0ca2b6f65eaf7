"""Pointwise gates and their gradients in one pass over memory, where the formula takes two or three."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._function import is_plain
from .gelu import BIAS, C2, C3, C4, C5, C6, HALF, LN2_HIGH, LN2_LOW, LOG2E, LOWEST, ONE, SHIFT
from .loops import ZERO, is_dense, run

GRAIN = 1 << 14


def one_pass(loop: Callable[..., None], y: Tensor, dy: Tensor) -> Tensor | None:
    """Return dx from the output y and its gradient, or None where a fast path may not run."""
    if not is_plain(y, dy) or y.stride() != dy.stride() or not is_dense(y):
        return None
    dx = torch.empty_like(y)
    run(loop, y.numel(), y, dy, dx, grain=GRAIN, flat=True)
    return dx


def tanh_in_one_pass(x: Tensor) -> Tensor | None:
    """Return tanh x, or None where a fast path may not run."""
    if not is_plain(x) or not is_dense(x):
        return None
    y = torch.empty_like(x)
    run(tanh, x.numel(), x, y, grain=GRAIN, flat=True)
    return y


def tanh(start: int, stop: int, x: Any, y: Any) -> None:
    """y = tanh x: near 0 an odd polynomial, elsewhere (1 - e) / (1 + e) with e = e^-2|x| of gelu.py.

    Source: Moshier, Cephes (1992), tanhf; relative error 2e-7.
    """
    x, y = x[start:stop], y[start:stop]
    for i in range(x.size):
        v = x[i]
        u = abs(v)
        w = v * v
        odd = v + v * w * (T1 + w * (T2 + w * (T3 + w * (T4 + w * T5))))
        e = -TWO * u
        e = LOWEST if e < LOWEST else e
        n = np.floor(e * LOG2E + HALF)
        f = e - n * LN2_HIGH - n * LN2_LOW
        power = np.int32((np.int32(n) + BIAS) << SHIFT).view(np.float32)
        e = power * (ONE + f * (ONE + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6))))))
        far = (ONE - e) / (ONE + e)
        far = -far if v < ZERO else far
        y[i] = odd if u < NEAR else far


TWO, NEAR = np.float32(2), np.float32(0.625)
T1, T2, T3 = np.float32(-3.33332819422e-1), np.float32(1.33314422036e-1), np.float32(-5.37397155531e-2)
T4, T5 = np.float32(2.06390887954e-2), np.float32(-5.70498872745e-3)


def reciprocal_gradient(start: int, stop: int, y: Any, dy: Any, dx: Any) -> None:
    """dx = -dy y^2."""
    y, dy, dx = y[start:stop], dy[start:stop], dx[start:stop]
    for i in range(y.size):
        dx[i] = -dy[i] * y[i] * y[i]


def tanh_gradient(start: int, stop: int, y: Any, dy: Any, dx: Any) -> None:
    """dx = dy (1 - y^2)."""
    y, dy, dx = y[start:stop], dy[start:stop], dx[start:stop]
    for i in range(y.size):
        dx[i] = dy[i] - dy[i] * y[i] * y[i]


def sigmoid_gradient(start: int, stop: int, y: Any, dy: Any, dx: Any) -> None:
    """dx = dy y (1 - y)."""
    y, dy, dx = y[start:stop], dy[start:stop], dx[start:stop]
    for i in range(y.size):
        dx[i] = dy[i] * (y[i] - y[i] * y[i])
