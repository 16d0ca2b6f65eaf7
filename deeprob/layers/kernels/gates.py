"""Loops of gates and their gradients: one pass over memory, where the formula takes two or three."""

from typing import Any

import numpy as np

from .exponential import LOWEST, ONE, exponential
from .loops import ZERO


def tanh(start: int, stop: int, x: Any, y: Any) -> None:
    """y = tanh x: near 0 an odd polynomial, elsewhere (1 - e) / (1 + e) with e = e^-2|x|.

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
        e = exponential(e)
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
