"""The loops of pooling. The winner of a window is kept as one byte, the number of its tap."""

from typing import Any

import numpy as np

from .kernels import ZERO

NONE = 255  # no tap yet


def max_planes(
    start: int, stop: int, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, y: Any, taps: Any
) -> None:
    """Y (P, H', W') and taps of planes x (P, H, W); start and stop count planes."""
    height, width = x.shape[1:]
    best, tap = np.empty(y.shape[2], np.float32), np.empty(y.shape[2], np.int32)
    step = stride[1]
    for plane in range(start, stop):
        for o in range(y.shape[1]):
            best[:] = -np.inf
            tap[:] = NONE
            for i in range(kernel[0]):
                row = o * stride[0] + i * dilation[0] - padding[0]
                if row < 0 or row >= height:
                    continue
                for j in range(kernel[1]):
                    shift = j * dilation[1] - padding[1]
                    first = max(0, -(shift // step))
                    last = min(best.size, (width - shift + step - 1) // step)
                    if last <= first:
                        continue
                    number = np.int32(i * kernel[1] + j)
                    b, t, source = best[first:last], tap[first:last], x[plane, row][first * step + shift :]
                    for p in range(b.size):
                        v = source[p * step]
                        wins = (v > b[p]) | (v != v) | (t[p] == NONE)  # the first of equals; a NaN always
                        b[p] = v if wins else b[p]
                        t[p] = number if wins else t[p]
            target, numbers = y[plane, o], taps[plane, o]
            for p in range(target.size):
                target[p] = best[p]
                numbers[p] = tap[p]


def max_planes_gradient(
    start: int, stop: int, dy: Any, taps: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, dx: Any
) -> None:
    """Send dy to the winners: dx (P, H, W), zero before; start and stop count planes."""
    for plane in range(start, stop):
        target = dx[plane]
        for o in range(dy.shape[1]):
            up, numbers = dy[plane, o], taps[plane, o]
            for p in range(up.size):
                i, j = divmod(np.uint32(numbers[p]), np.uint32(kernel[1]))
                row = o * stride[0] + np.int64(i) * dilation[0] - padding[0]
                target[row, p * stride[1] + np.int64(j) * dilation[1] - padding[1]] += up[p]


def max_rows(
    start: int, stop: int, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, y: Any, taps: Any
) -> None:
    """Y (N, H', W', C) and taps of maps x (N, H, W, C), channels innermost; start and stop count samples."""
    height, width = x.shape[1:3]
    for n in range(start, stop):
        for o in range(y.shape[1]):
            for p in range(y.shape[2]):
                best, tap = y[n, o, p], taps[n, o, p]
                best[:] = -np.inf
                tap[:] = NONE
                for i in range(kernel[0]):
                    row = o * stride[0] + i * dilation[0] - padding[0]
                    for j in range(kernel[1]):
                        column = p * stride[1] + j * dilation[1] - padding[1]
                        if 0 <= row < height and 0 <= column < width:
                            source = x[n, row, column]
                            number = np.uint8(i * kernel[1] + j)
                            for c in range(best.size):
                                v = source[c]
                                wins = (v > best[c]) | (v != v) | (tap[c] == NONE)
                                best[c] = v if wins else best[c]
                                tap[c] = number if wins else tap[c]


def max_rows_gradient(
    start: int, stop: int, dy: Any, taps: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, dx: Any
) -> None:
    """Send dy to the winners: dx (N, H, W, C), zero before; start and stop count samples."""
    height, width = dx.shape[1:3]
    for n in range(start, stop):
        for o in range(dy.shape[1]):
            for p in range(dy.shape[2]):
                up, tap = dy[n, o, p], taps[n, o, p]
                for i in range(kernel[0]):
                    row = o * stride[0] + i * dilation[0] - padding[0]
                    for j in range(kernel[1]):
                        column = p * stride[1] + j * dilation[1] - padding[1]
                        if 0 <= row < height and 0 <= column < width:
                            target = dx[n, row, column]
                            number = np.uint8(i * kernel[1] + j)
                            for c in range(up.size):
                                d = up[c]
                                target[c] += d if tap[c] == number else ZERO


def average_rows(start: int, stop: int, x: Any, rows: Any, columns: Any, y: Any) -> None:
    """Y = R x C^T of maps x (N, H, W, S), channels innermost, skipping the zeros of R and C; over samples."""
    tops, bottoms = np.empty(len(rows), np.int64), np.zeros(len(rows), np.int64)  # what is not zero
    for o in range(len(rows)):
        tops[o] = len(rows[o])
        for h in range(len(rows[o])):
            if rows[o, h] != ZERO:
                tops[o] = min(tops[o], h)
                bottoms[o] = h + 1
    lefts, rights = np.empty(len(columns), np.int64), np.zeros(len(columns), np.int64)
    for p in range(len(columns)):
        lefts[p] = len(columns[p])
        for w in range(len(columns[p])):
            if columns[p, w] != ZERO:
                lefts[p] = min(lefts[p], w)
                rights[p] = w + 1
    for n in range(start, stop):
        for o in range(y.shape[1]):
            for p in range(y.shape[2]):
                target = y[n, o, p]
                target[:] = ZERO
                for h in range(tops[o], bottoms[o]):
                    for w in range(lefts[p], rights[p]):
                        share = rows[o, h] * columns[p, w]
                        source = x[n, h, w]
                        for c in range(target.size):
                            target[c] += share * source[c]
