"""The loops of batch normalisation over rows (R, C), channels innermost; loops.py runs them.

Rows of few channels are taken several at a time, as one row of `wide` columns (channels.py): column i is
channel i % C, and the loops along a row stay long. Sums over rows are gathered in parts of PART rows, few
enough for float32; the parts in float64.
"""

from typing import Any

import numpy as np

from .half import narrow, widen
from .loops import ZERO

PART = 64
ONE = np.float32(1)


def count_parts(num_rows: int) -> int:
    """Return how many parts `num_rows` make."""
    return -(-num_rows // PART)


def row_sums(start: int, stop: int, x: Any, channels: int, parts: Any) -> None:
    """Sum x - x[0] and its square over every column of a part; start and stop count parts."""
    centre = np.empty(x.shape[1], np.float32)
    repeat_entries(x[0, :channels], centre)
    for part in range(start, stop):
        s, q = parts[part, 0], parts[part, 1]
        s[:] = ZERO
        q[:] = ZERO
        last = min((part + 1) * PART, x.shape[0])
        for r in range(part * PART, last - 1, 2):  # two rows at a time: half the traffic of s and q
            even, odd = x[r], x[r + 1]
            for i in range(even.size):
                d, e = widen(even[i]) - centre[i], widen(odd[i]) - centre[i]
                s[i] += d + e
                q[i] += d * d + e * e
        if (last - part * PART) % 2:
            row = x[last - 1]
            for i in range(row.size):
                d = widen(row[i]) - centre[i]
                s[i] += d
                q[i] += d * d


def fold_moments(start: int, stop: int, parts: Any, x: Any, mean: Any, var: Any) -> None:
    """Mean and biased variance of every channel, of what row_sums left; called once, not over a range."""
    channels = mean.size
    count = x.size // channels
    total, square = np.zeros(channels), np.zeros(channels)
    fold(parts, total, square)
    for c in range(channels):
        offset = total[c] / count
        mean[c] = widen(x[0, c]) + offset
        var[c] = max(square[c] / count - offset * offset, 0.0)


def row_normalise(
    start: int, stop: int, x: Any, w: Any, b: Any, mean: Any, var: Any, eps: float, y: Any
) -> None:
    """y = w (x - mu) r + b, columns of channels."""
    wide, channels = x.shape[1], mean.size
    scale, shift = np.empty(wide, np.float32), np.empty(wide, np.float32)
    for c in range(channels):
        scale[c] = ONE / np.sqrt(var[c] + np.float32(eps))
        if w is not None:
            scale[c] *= w[c]
        shift[c] = -mean[c] * scale[c]
        if b is not None:
            shift[c] += b[c]
    repeat(scale[:channels], scale)
    repeat(shift[:channels], shift)
    for r in range(start, stop):
        source, target = x[r], y[r]
        for i in range(source.size):
            target[i] = narrow(scale[i] * widen(source[i]) + shift[i], target)


def row_dots(start: int, stop: int, dy: Any, x: Any, mean: Any, parts: Any) -> None:
    """Sum dy and dy (x - mu) over every column of a part; start and stop count parts."""
    centre = np.empty(x.shape[1], np.float32)
    repeat(mean, centre)
    for part in range(start, stop):
        s, q = parts[part, 0], parts[part, 1]
        s[:] = ZERO
        q[:] = ZERO
        last = min((part + 1) * PART, x.shape[0])
        for r in range(part * PART, last - 1, 2):
            even, odd, up, down = x[r], x[r + 1], dy[r], dy[r + 1]
            for i in range(even.size):
                d, e = widen(up[i]), widen(down[i])
                s[i] += d + e
                q[i] += d * (widen(even[i]) - centre[i]) + e * (widen(odd[i]) - centre[i])
        if (last - part * PART) % 2:
            row, up = x[last - 1], dy[last - 1]
            for i in range(row.size):
                d = widen(up[i])
                s[i] += d
                q[i] += d * (widen(row[i]) - centre[i])


def row_constant_gradient(
    start: int, stop: int, dy: Any, x: Any, w: Any, mean: Any, var: Any, eps: float, dx: Any, parts: Any
) -> None:
    """dx = w r dy where mu and var are constants, and row_dots of the same rows."""
    wide, channels = x.shape[1], mean.size
    centre, scale = np.empty(wide, np.float32), np.empty(wide, np.float32)
    for c in range(channels):
        scale[c] = ONE / np.sqrt(var[c] + np.float32(eps))
        if w is not None:
            scale[c] *= w[c]
    repeat(mean, centre)
    repeat(scale[:channels], scale)
    for part in range(start, stop):
        s, q = parts[part, 0], parts[part, 1]
        s[:] = ZERO
        q[:] = ZERO
        for r in range(part * PART, min((part + 1) * PART, x.shape[0])):
            row, up, target = x[r], dy[r], dx[r]
            for i in range(row.size):
                d = widen(up[i])
                s[i] += d
                q[i] += d * (widen(row[i]) - centre[i])
                target[i] = narrow(scale[i] * d, target)


def row_gradient(
    start: int,
    stop: int,
    dy: Any,
    x: Any,
    w: Any,
    mean: Any,
    var: Any,
    eps: float,
    parts: Any,
    dx: Any,
    dw: Any,
    db: Any,
) -> None:
    """dx in training, and dw and db, of what row_dots left; start and stop count rows."""
    wide, channels = x.shape[1], mean.size
    count = x.size // channels
    total, dot = np.zeros(channels), np.zeros(channels)
    fold(parts, total, dot)
    scale, slope, shift = np.empty(wide, np.float32), np.empty(wide, np.float32), np.empty(wide, np.float32)
    for c in range(channels):  # dx = a dy + b x + c
        r = 1.0 / np.sqrt(np.float64(var[c]) + eps)
        if start == 0:
            dw[c], db[c] = dot[c] * r, total[c]
        a = r
        if w is not None:
            a *= w[c]
        b = -a * r * r * dot[c] / count
        scale[c], slope[c], shift[c] = a, b, -a * total[c] / count - b * mean[c]
    repeat(scale[:channels], scale)
    repeat(slope[:channels], slope)
    repeat(shift[:channels], shift)
    for n in range(start, stop):
        source, upstream, target = x[n], dy[n], dx[n]
        for i in range(source.size):
            dy_ = widen(upstream[i])
            target[i] = narrow(scale[i] * dy_ + slope[i] * widen(source[i]) + shift[i], target)


def fold_dots(start: int, stop: int, parts: Any, total: Any, dot: Any) -> None:
    """Sum over the parts of every channel; called once, not over a range."""
    sums, dots = np.zeros(total.size), np.zeros(total.size)
    fold(parts, sums, dots)
    for c in range(total.size):
        total[c], dot[c] = sums[c], dots[c]


def row_combine(start: int, stop: int, dy: Any, x: Any, a: Any, b: Any, c0: Any, dx: Any) -> None:
    """dx = a dy + b x + c0, columns of channels."""
    wide = x.shape[1]
    scale, slope, shift = np.empty(wide, np.float32), np.empty(wide, np.float32), np.empty(wide, np.float32)
    repeat(a, scale)
    repeat(b, slope)
    repeat(c0, shift)
    for r in range(start, stop):
        source, upstream, target = x[r], dy[r], dx[r]
        for i in range(source.size):
            dy_ = widen(upstream[i])
            target[i] = narrow(scale[i] * dy_ + slope[i] * widen(source[i]) + shift[i], target)


def fold(parts: Any, total: Any, dot: Any) -> None:
    """Add up the parts of every channel, in float64."""
    channels = total.size
    for part in range(len(parts)):
        for first in range(0, parts.shape[2], channels):
            s, q = parts[part, 0, first : first + channels], parts[part, 1, first : first + channels]
            for c in range(channels):
                total[c] += s[c]
                dot[c] += q[c]


def repeat_entries(v: Any, row: Any) -> None:
    """Fill a wide row with the channels v of a map."""
    for i in range(row.size):
        row[i] = widen(v[i % v.size])


def repeat(v: Any, row: Any) -> None:
    """Fill a wide row with the channels v, over and over."""
    for first in range(0, row.size, v.size):
        row[first : first + v.size] = v
