"""The loops along the last axis: a sum over each row and what it sends back, the row still in the cache."""

from typing import Any

from .kernels import ZERO


def softmax_gradient(start: int, stop: int, y: Any, dy: Any, dx: Any) -> None:
    """Dx = y (dy - sum_j y_j dy_j) a row."""
    for n in range(start, stop):
        row, up, target = y[n], dy[n], dx[n]
        total = ZERO
        for i in range(row.size):
            total += row[i] * up[i]
        for i in range(row.size):
            target[i] = row[i] * (up[i] - total)


def log_softmax_gradient(start: int, stop: int, p: Any, dy: Any) -> None:
    """Turn p = exp(y) into dx = dy - p sum_j dy_j, a row."""
    for n in range(start, stop):
        row, up = p[n], dy[n]
        total = ZERO
        for i in range(row.size):
            total += up[i]
        for i in range(row.size):
            row[i] = up[i] - row[i] * total
