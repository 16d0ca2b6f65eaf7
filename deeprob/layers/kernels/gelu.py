"""The loops of the smooth gates: derivative times dy in one pass, with the exponential of exponential.py.

The normal distribution takes the same one,
Phi(x) = 1 - e^(-x^2 / 2) (a1 t + ... + a5 t^5) / 2, t = 1 / (1 + p x / sqrt 2), x >= 0, to 1.5e-7.
Source: Abramowitz and Stegun (1964), 7.1.26.
"""

from typing import Any

from .exponential import HALF, LOWEST, ONE, F, exponential
from .loops import ZERO

A1, A2, A3, A4, A5 = F(0.254829592), F(-0.284496736), F(1.421413741), F(-1.453152027), F(1.061405429)
P, ROOT_HALF, DENSITY = F(0.3275911), F(0.7071067811865476), F(0.3989422804014327)


def gelu_gradient(start: int, stop: int, x: Any, dy: Any, dx: Any) -> None:
    """dx = dy (Phi(x) + x phi(x))."""
    x, dy, dx = x[start:stop], dy[start:stop], dx[start:stop]
    for i in range(x.size):
        v = x[i]
        u = abs(v)
        e = -HALF * u * u
        e = e if e > LOWEST else LOWEST
        e = exponential(e)
        t = ONE / (ONE + P * ROOT_HALF * u)
        tail = HALF * e * (t * (A1 + t * (A2 + t * (A3 + t * (A4 + t * A5)))))
        phi = tail if v < ZERO else ONE - tail
        dx[i] = dy[i] * (phi + v * DENSITY * e)


def silu_gradient(start: int, stop: int, x: Any, dy: Any, dx: Any) -> None:
    """dx = dy s (1 + x (1 - s)), s = 1 / (1 + e^-x)."""
    x, dy, dx = x[start:stop], dy[start:stop], dx[start:stop]
    for i in range(x.size):
        v = x[i]
        e = -abs(v)
        e = e if e > LOWEST else LOWEST
        e = exponential(e)
        s = ONE / (ONE + e)
        s = e * s if v < ZERO else s
        dx[i] = dy[i] * (s * (ONE + v * (ONE - s)))


def tanh_gelu(start: int, stop: int, x: Any, y: Any) -> None:
    """y = x (1 + t) / 2 with (1 + t) / 2 = 1 / (1 + e^-2u)."""
    x, y = x[start:stop], y[start:stop]
    for i in range(x.size):
        v = x[i]
        w = F(1.5957691216057308) * v * (ONE + F(0.044715) * v * v)  # 2 u
        e = -abs(w)
        e = e if e > LOWEST else LOWEST
        e = exponential(e)
        s = ONE / (ONE + e)
        s = e * s if w < ZERO else s
        y[i] = v * s


def tanh_gelu_gradient(start: int, stop: int, x: Any, dy: Any, dx: Any) -> None:
    """dx = dy ((1 + t) + x (1 - t^2) u') / 2 with (1 + t) / 2 = s = 1 / (1 + e^-2u)."""
    x, dy, dx = x[start:stop], dy[start:stop], dx[start:stop]
    for i in range(x.size):
        v = x[i]
        w = F(1.5957691216057308) * v * (ONE + F(0.044715) * v * v)  # 2 u
        slope = F(1.5957691216057308) * (ONE + F(0.134145) * v * v)
        e = -abs(w)
        e = e if e > LOWEST else LOWEST
        e = exponential(e)
        s = ONE / (ONE + e)
        s = e * s if w < ZERO else s
        dx[i] = dy[i] * (s + v * s * (ONE - s) * slope)
