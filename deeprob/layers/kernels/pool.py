"""The loops of pooling. The winner of a window is kept as one byte, the number of its tap."""

from typing import Any

import numpy as np

from .loops import ZERO

NONE = 255  # more taps than a byte can number


def max_planes(
    start: int, stop: int, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, y: Any, taps: Any
) -> None:
    """Y (P, H', W') and taps of planes x (P, H, W); start and stop count planes.

    First the maximum down each column of a row of windows, then along the row. The columns are dealt into
    `phase` by their place within a stride, so that neighbouring windows read neighbouring numbers.
    """
    height, width = x.shape[1:]
    step, pad, far = stride[1], padding[1], dilation[1]
    length = max((y.shape[2] - 1) * step + (kernel[1] - 1) * far + 1, pad + width)
    length += -length % step
    column, number = np.full(length, -np.inf, np.float32), np.full(length, NONE * NONE, np.int32)
    phase, which = np.empty((step, length // step), np.float32), np.empty((step, length // step), np.int32)
    best, tap = np.empty(y.shape[2], np.float32), np.empty(y.shape[2], np.int32)
    top, top_tap = column[pad : pad + width], number[pad : pad + width]
    for plane in range(start, stop):
        for o in range(y.shape[1]):
            started = False
            for i in range(kernel[0]):
                row = o * stride[0] + i * dilation[0] - padding[0]
                if row < 0 or row >= height:
                    continue
                source, first = x[plane, row], np.int32(i * kernel[1])
                if started:
                    for c in range(top.size):
                        v, b, t = source[c], top[c], top_tap[c]
                        wins = (v > b) | (v != v)  # the first of equals; a NaN always
                        top[c] = v if wins else b
                        top_tap[c] = first if wins else t
                else:
                    top[:] = source
                    top_tap[:] = first
                    started = True
            if step == 2:
                even, odd, even_tap, odd_tap = phase[0], phase[1], which[0], which[1]
                for q in range(even.size):
                    even[q], odd[q] = column[2 * q], column[2 * q + 1]
                    even_tap[q], odd_tap[q] = number[2 * q], number[2 * q + 1]
            else:
                for f in range(step):
                    for q in range(length // step):
                        phase[f, q], which[f, q] = column[q * step + f], number[q * step + f]
            for j in range(kernel[1]):
                shift, f = j * far // step, j * far % step
                source, numbers = phase[f, shift : shift + best.size], which[f, shift : shift + best.size]
                if j == 0:
                    best[:] = source
                    tap[:] = numbers
                    continue
                right = np.int32(j)
                for p in range(best.size):
                    v, t, b, s = source[p], numbers[p] + right, best[p], tap[p]
                    # in the order of the taps, which row by row is not that of the columns
                    wins = (v > b) | ((v == b) & (t < s)) | ((v != v) & ((b == b) | (t > s)))
                    best[p] = v if wins else b
                    tap[p] = t if wins else s
            target, bytes_of_taps = y[plane, o], taps[plane, o]
            for p in range(target.size):
                target[p] = best[p]
                bytes_of_taps[p] = tap[p]


def max_planes_gradient(
    start: int, stop: int, dy: Any, taps: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, dx: Any
) -> None:
    """Send dy to the winners: dx (P, H, W); start and stop count planes."""
    width = dx.shape[2]
    places = np.empty(kernel[0] * kernel[1], np.int64)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            places[i * kernel[1] + j] = i * dilation[0] * width + j * dilation[1]
    for plane in range(start, stop):
        target = dx[plane].reshape(-1)
        target[:] = ZERO  # here, where it stays in the cache
        for o in range(dy.shape[1]):
            up, numbers = dy[plane, o], taps[plane, o]
            corner = (o * stride[0] - padding[0]) * width - padding[1]
            for p in range(up.size):  # unsigned: an index that cannot be negative needs no check
                target[np.uint64(corner + p * stride[1] + places[np.uint64(numbers[p])])] += up[p]


def max_rows(
    start: int, stop: int, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, y: Any, taps: Any
) -> None:
    """Y (N, H', W', C) and taps of maps x (N, H, W, C), channels innermost; start and stop count samples.

    Three columns of a window at a time; beyond the last one stands the last again, which changes nothing.
    """
    height, width, channels = x.shape[1:]
    far = dilation[1]
    tap = np.empty(channels, np.int32)
    for n in range(start, stop):
        for o in range(y.shape[1]):
            for p in range(y.shape[2]):
                best, bytes_of_taps = y[n, o, p], taps[n, o, p]
                left = p * stride[1] - padding[1]
                first = max(0, -(left // far))
                last = min(kernel[1], (width - left + far - 1) // far) - 1
                started = False
                for i in range(kernel[0]):
                    row = o * stride[0] + i * dilation[0] - padding[0]
                    if row < 0 or row >= height:
                        continue
                    for j in range(first, last + 1, 3):
                        k, m = min(j + 1, last), min(j + 2, last)
                        near, middle, right = (
                            x[n, row, left + j * far],
                            x[n, row, left + k * far],
                            x[n, row, left + m * far],
                        )
                        near_tap, middle_tap = np.int32(i * kernel[1] + j), np.int32(i * kernel[1] + k)
                        right_tap = np.int32(i * kernel[1] + m)
                        if started:
                            for c in range(best.size):
                                u, v, w = near[c], middle[c], right[c]
                                wins = (v > u) | (v != v)
                                u = v if wins else u
                                t = middle_tap if wins else near_tap
                                wins = (w > u) | (w != w)
                                u = w if wins else u
                                t = right_tap if wins else t
                                b, s = best[c], tap[c]
                                wins = (u > b) | (u != u)
                                best[c] = u if wins else b
                                tap[c] = t if wins else s
                        else:
                            started = True
                            for c in range(best.size):
                                u, v, w = near[c], middle[c], right[c]
                                wins = (v > u) | (v != v)
                                u = v if wins else u
                                t = middle_tap if wins else near_tap
                                wins = (w > u) | (w != w)
                                best[c] = w if wins else u
                                tap[c] = right_tap if wins else t
                for c in range(best.size):
                    bytes_of_taps[c] = tap[c]


def max_rows_gradient(
    start: int, stop: int, dy: Any, taps: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, dx: Any
) -> None:
    """Fetch from dy what each pixel won: dx (N, H, W, C); start and stop count samples."""
    for n in range(start, stop):
        for h in range(dx.shape[1]):
            for w in range(dx.shape[2]):
                target = dx[n, h, w]
                started = False
                for i in range(kernel[0]):
                    o, between = divmod(h + padding[0] - i * dilation[0], stride[0])
                    if between or o < 0 or o >= dy.shape[1]:
                        continue
                    for j in range(kernel[1]):
                        p, between = divmod(w + padding[1] - j * dilation[1], stride[1])
                        if between or p < 0 or p >= dy.shape[2]:
                            continue
                        up, tap, number = dy[n, o, p], taps[n, o, p], np.uint8(i * kernel[1] + j)
                        if started:
                            for c in range(up.size):
                                d = up[c]
                                target[c] += d if tap[c] == number else ZERO
                        else:
                            started = True
                            for c in range(up.size):
                                d = up[c]
                                target[c] = d if tap[c] == number else ZERO
                if not started:
                    target[:] = ZERO


def average_planes(start: int, stop: int, x: Any, rows: Any, columns: Any, y: Any) -> None:
    """y = R x C^T of planes x (P, H, W), skipping the zeros of R and C; y is (P, H' W'); by plane.

    First R x, line by line. Then all entries of the plane take as many taps as the widest needs, of a zero
    behind the last line where they have no more.
    """
    tops, bottoms = _reach(rows)
    lefts, rights = _reach(columns)
    width, count, across = len(columns), y.shape[1], columns.shape[1]
    widest = max(1, (rights - lefts).max())
    at, share = np.empty((widest, count), np.uint32), np.zeros((widest, count), np.float32)
    for tap in range(widest):
        for i in range(count):
            o, p = i // width, i % width
            at[tap, i] = len(rows) * across
            if lefts[p] + tap < rights[p]:
                at[tap, i] = o * across + lefts[p] + tap
                share[tap, i] = columns[p, lefts[p] + tap]
    flat = np.zeros(len(rows) * across + 1, np.float32)
    mixed = flat[:-1].reshape(len(rows), across)
    for n in range(start, stop):
        for o in range(len(rows)):
            _mix(x[n], rows[o], tops[o], bottoms[o], mixed[o])
        target, first, weight = y[n], at[0], share[0]
        for i in range(target.size):
            target[i] = weight[i] * flat[np.uint64(first[i])]
        for tap in range(1, widest):
            following, weight = at[tap], share[tap]
            for i in range(target.size):
                target[i] += weight[i] * flat[np.uint64(following[i])]


def average_pixels(start: int, stop: int, x: Any, rows: Any, columns: Any, channels: int, y: Any) -> None:
    """y = R x C^T of maps x (N, H, W S), channels innermost, skipping the zeros of R and C; over samples."""
    tops, bottoms = _reach(rows)
    lefts, rights = _reach(columns)
    mixed = np.empty(x.shape[2], np.float32)
    for n in range(start, stop):
        for o in range(y.shape[1]):
            _mix(x[n], rows[o], tops[o], bottoms[o], mixed)
            for p in range(len(columns)):
                target = y[n, o, p * channels : (p + 1) * channels]
                if lefts[p] >= rights[p]:
                    target[:] = ZERO
                for w in range(lefts[p], rights[p]):
                    source, share = mixed[w * channels : (w + 1) * channels], columns[p, w]
                    if w == lefts[p]:
                        for c in range(target.size):
                            target[c] = share * source[c]
                    else:
                        for c in range(target.size):
                            target[c] += share * source[c]


def _mix(x: Any, row: Any, top: int, bottom: int, mixed: Any) -> None:
    """Add up the lines of x by their weights in a row of R."""
    if top >= bottom:
        mixed[:] = ZERO
    for h in range(top, bottom):
        source, share = x[h], row[h]
        if h == top:
            for i in range(mixed.size):
                mixed[i] = share * source[i]
        else:
            for i in range(mixed.size):
                mixed[i] += share * source[i]


def _reach(matrix: Any) -> Any:
    """Find where each row begins and ends not to be zero."""
    first, last = np.empty(len(matrix), np.int64), np.zeros(len(matrix), np.int64)
    for o in range(len(matrix)):
        first[o] = matrix.shape[1]
        for i in range(matrix.shape[1]):
            if matrix[o, i] != ZERO:
                first[o] = min(first[o], i)
                last[o] = i + 1
    return first, last
