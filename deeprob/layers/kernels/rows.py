"""The loops along the last axis: a sum over each row and what it sends back, the row still in the cache."""

from typing import Any

import numpy as np

from .gelu import BIAS, C2, C3, C4, C5, C6, HALF, LN2_HIGH, LN2_LOW, LOG2E, LOWEST, ONE, SHIFT
from .loops import ZERO


def softmax_gradient(start: int, stop: int, y: Any, dy: Any, dx: Any) -> None:
    """dx = y (dy - sum_j y_j dy_j) a row."""
    for n in range(start, stop):
        row, up, target = y[n], dy[n], dx[n]
        total = ZERO
        for i in range(row.size):
            total += row[i] * up[i]
        for i in range(row.size):
            target[i] = row[i] * (up[i] - total)


def log_softmax_gradient(start: int, stop: int, y: Any, dy: Any, dx: Any) -> None:
    """dx = dy - exp(y) sum_j dy_j a row."""
    for n in range(start, stop):
        row, up, target = y[n], dy[n], dx[n]
        total = ZERO
        for i in range(row.size):
            total += up[i]
        for i in range(row.size):
            v = row[i]
            v = LOWEST if v < LOWEST else v
            n2 = np.floor(v * LOG2E + HALF)
            f = v - n2 * LN2_HIGH - n2 * LN2_LOW
            power = np.int32((np.int32(n2) + BIAS) << SHIFT).view(np.float32)
            e = power * (ONE + f * (ONE + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6))))))
            target[i] = up[i] - e * total
