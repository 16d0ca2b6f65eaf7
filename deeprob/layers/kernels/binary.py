"""The loops of the yes-or-no losses: one pass over the logits each way, in blocks as in losses.py.

The exponential of -|x| is that of gelu.py. With it, ln(1 + e) = 2 atanh(z), z = e / (2 + e) at most
1/3, is the series 2 (z + z^3 / 3 + ... + z^11 / 11), to 2e-7.
"""

from typing import Any

import numpy as np

from .exponential import HALF, LOWEST, ONE, exponential
from .loops import ZERO
from .losses import BLOCK

TWO = np.float32(2)
L3, L5, L7, L9, L11 = (np.float32(1 / n) for n in (3, 5, 7, 9, 11))


def cross_entropies(start: int, stop: int, x: Any, t: Any, share: float, sums: Any) -> None:
    """Sum (max(x, 0) - t x + ln(1 + e^-|x|)) share over every block from start to stop."""
    for b in range(start, stop):
        logits, truth = x[b * BLOCK : (b + 1) * BLOCK], t[b * BLOCK : (b + 1) * BLOCK]
        total = ZERO
        for i in range(logits.size):
            v = logits[i]
            d = -abs(v)
            d = LOWEST if d < LOWEST else d
            e = exponential(d)
            z = e / (TWO + e)
            y = z * z
            log = TWO * z * (ONE + y * (L3 + y * (L5 + y * (L7 + y * (L9 + y * L11)))))
            positive = ZERO if v < ZERO else v
            total += positive - truth[i] * v + log
        sums[b] = total * np.float32(share)


def cross_entropy_gradient(
    start: int, stop: int, x: Any, t: Any, dy: Any, share: float, dx: Any, dt: Any
) -> None:
    """dx = (sigmoid(x) - t) dy share and, unless it is None, dt = -x dy share."""
    x, t, dx = x[start:stop], t[start:stop], dx[start:stop]
    scale = dy[0] * np.float32(share)
    for i in range(x.size):
        v = x[i]
        d = -abs(v)
        d = LOWEST if d < LOWEST else d
        e = exponential(d)
        p = ONE / (ONE + e)
        p = e * p if v < ZERO else p
        dx[i] = scale * (p - t[i])
    if dt is not None:
        dt = dt[start:stop]
        for i in range(x.size):
            dt[i] = -scale * x[i]


def focal_losses(
    start: int, stop: int, x: Any, t: Any, positive: float, negative: float, share: float, sums: Any
) -> None:
    """Sum a q^2 softplus(-u) share over every block from start to stop; a is positive or negative."""
    for b in range(start, stop):
        logits, truth = x[b * BLOCK : (b + 1) * BLOCK], t[b * BLOCK : (b + 1) * BLOCK]
        total = ZERO
        for i in range(logits.size):
            side = truth[i] > HALF
            u = logits[i]
            u = u if side else -u
            d = -abs(u)
            d = LOWEST if d < LOWEST else d
            e = exponential(d)
            z = e / (TWO + e)
            y = z * z
            log = TWO * z * (ONE + y * (L3 + y * (L5 + y * (L7 + y * (L9 + y * L11)))))
            softplus = log - u if u < ZERO else log
            q = ONE / (ONE + e)
            q = q if u < ZERO else e * q
            a = np.float32(positive) if side else np.float32(negative)
            total += a * q * q * softplus
        sums[b] = total * np.float32(share)


def focal_gradient(
    start: int,
    stop: int,
    x: Any,
    t: Any,
    positive: float,
    negative: float,
    dy: Any,
    share: float,
    dx: Any,
    dt: Any,
) -> None:
    """dx = -+ a q^2 (q + 2 (1 - q) softplus(-u)) dy share, minus where t = 1; dt is None."""
    x, t, dx = x[start:stop], t[start:stop], dx[start:stop]
    scale = dy[0] * np.float32(share)
    for i in range(x.size):
        side = t[i] > HALF
        u = x[i]
        u = u if side else -u
        d = -abs(u)
        d = LOWEST if d < LOWEST else d
        e = exponential(d)
        z = e / (TWO + e)
        y = z * z
        log = TWO * z * (ONE + y * (L3 + y * (L5 + y * (L7 + y * (L9 + y * L11)))))
        softplus = log - u if u < ZERO else log
        p = ONE / (ONE + e)
        q = p if u < ZERO else e * p
        r = e * p if u < ZERO else p  # 1 - q, without losing digits
        a = -np.float32(positive) if side else np.float32(negative)
        dx[i] = scale * a * q * q * (q + TWO * r * softplus)
