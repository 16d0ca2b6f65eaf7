"""The loops of the losses: each entry is read once a way, and sums are kept a block.

The blocks are the same whatever the threads, and so is what comes out.
"""

from typing import Any

import numpy as np

from .exponential import HALF, LOWEST, ONE, exponential
from .loops import ZERO

BLOCK = 4096  # entries whose losses are summed as one, so that float32 suffices
TWO = np.float32(2)


def count_blocks(size: int) -> int:
    """Return how many blocks `size` entries make."""
    return -(-size // BLOCK)


def squared_errors(start: int, stop: int, x: Any, t: Any, share: float, sums: Any) -> None:
    """Sum d^2 share, d = x - t, over every block from start to stop."""
    for b in range(start, stop):
        here, there = x[b * BLOCK : (b + 1) * BLOCK], t[b * BLOCK : (b + 1) * BLOCK]
        total = ZERO
        for i in range(here.size):
            d = here[i] - there[i]
            total += d * d
        sums[b] = total * np.float32(share)


def squared_error_gradient(
    start: int, stop: int, x: Any, t: Any, dy: Any, share: float, dx: Any, dt: Any
) -> None:
    """dx = 2 d dy share and, unless it is None, dt = -dx."""
    x, t, dx = x[start:stop], t[start:stop], dx[start:stop]
    scale = TWO * dy[0] * np.float32(share)
    if dt is None:
        for i in range(x.size):
            dx[i] = scale * (x[i] - t[i])
    else:
        dt = dt[start:stop]
        for i in range(x.size):
            v = scale * (x[i] - t[i])
            dx[i] = v
            dt[i] = -v


def smooth_errors(start: int, stop: int, x: Any, t: Any, beta: float, share: float, sums: Any) -> None:
    """Sum c (d - c / 2) / beta share, c = clip(d, -beta, beta), over every block from start to stop."""
    high, low = np.float32(beta), np.float32(-beta)
    for b in range(start, stop):
        here, there = x[b * BLOCK : (b + 1) * BLOCK], t[b * BLOCK : (b + 1) * BLOCK]
        total = ZERO
        for i in range(here.size):
            d = here[i] - there[i]
            c = low if d < low else d
            c = high if c > high else c
            total += c * (d - HALF * c)
        sums[b] = total / high * np.float32(share)


def smooth_error_gradient(
    start: int, stop: int, x: Any, t: Any, beta: float, dy: Any, share: float, dx: Any, dt: Any
) -> None:
    """dx = c / beta dy share and, unless it is None, dt = -dx."""
    x, t, dx = x[start:stop], t[start:stop], dx[start:stop]
    high, low = np.float32(beta), np.float32(-beta)
    scale = dy[0] * np.float32(share) / high
    if dt is None:
        for i in range(x.size):
            d = x[i] - t[i]
            d = low if d < low else d
            d = high if d > high else d
            dx[i] = scale * d
    else:
        dt = dt[start:stop]
        for i in range(x.size):
            d = x[i] - t[i]
            d = low if d < low else d
            d = high if d > high else d
            dx[i] = scale * d
            dt[i] = -scale * d


# --- cross_entropy: rows (R, C), or planes (N, C, M) in chunks of CHUNK entries of M. The exponential is that
# of gelu.py, but 0 where it underflows.

CHUNK = 512
LANES = 64  # maxima taken side by side


def count_chunks(x: Any) -> int:
    """Return how many chunks planes (N, C, M) make."""
    return int(x.shape[0] * -(-x.shape[2] // CHUNK))


def probability_rows(start: int, stop: int, x: Any, p: Any, log_sum: Any) -> None:
    """P = softmax(x) and log sum exp(x) a row."""
    top = np.empty(LANES, np.float32)
    for n in range(start, stop):
        row, target = x[n], p[n]
        top[:] = row[0]
        for first in range(0, row.size - LANES + 1, LANES):
            part = row[first : first + LANES]
            for i in range(LANES):
                v = part[i]
                top[i] = v if v > top[i] else top[i]
        largest = row[0]
        for i in range(LANES):
            largest = top[i] if top[i] > largest else largest
        for i in range(row.size - row.size % LANES, row.size):
            largest = row[i] if row[i] > largest else largest
        total = ZERO
        for i in range(row.size):
            d = row[i] - largest
            v = LOWEST if d < LOWEST else d
            e = exponential(v)
            e = ZERO if d < LOWEST else e
            target[i] = e
            total += e
        scale = ONE / total
        for i in range(row.size):
            target[i] *= scale
        log_sum[n] = largest + np.log(total)


def probability_planes(start: int, stop: int, x: Any, p: Any, log_sum: Any) -> None:
    """P = softmax(x) and log sum exp(x) over the planes of a sample; start and stop count chunks."""
    per_sample = -(-x.shape[2] // CHUNK)
    top, total = np.empty(CHUNK, np.float32), np.empty(CHUNK, np.float32)
    for chunk in range(start, stop):
        n, first = chunk // per_sample, chunk % per_sample * CHUNK
        size = min(CHUNK, x.shape[2] - first)
        largest, sums = top[:size], total[:size]
        for i in range(size):
            largest[i] = x[n, 0, first + i]
        for c in range(1, x.shape[1]):
            plane = x[n, c][first : first + size]
            for i in range(plane.size):
                v = plane[i]
                largest[i] = v if v > largest[i] else largest[i]
        sums[:] = ZERO
        for c in range(x.shape[1]):
            plane, target = x[n, c][first : first + size], p[n, c][first : first + size]
            for i in range(plane.size):
                d = plane[i] - largest[i]
                v = LOWEST if d < LOWEST else d
                e = exponential(v)
                e = ZERO if d < LOWEST else e
                target[i] = e
                sums[i] += e
        out = log_sum[n][first : first + size]
        for i in range(size):
            out[i] = largest[i] + np.log(sums[i])
            sums[i] = ONE / sums[i]
        for c in range(x.shape[1]):
            target = p[n, c][first : first + size]
            for i in range(target.size):
                target[i] *= sums[i]


def cross_entropy_rows_gradient(start: int, stop: int, p: Any, t: Any, dloss: Any, dx: Any) -> None:
    """dx = dloss (p - [c = t]) a row."""
    for n in range(start, stop):
        row, target, scale = p[n], dx[n], dloss[n]
        for i in range(row.size):
            target[i] = scale * row[i]
        target[t[n]] -= scale


def cross_entropy_planes_gradient(start: int, stop: int, p: Any, t: Any, dloss: Any, dx: Any) -> None:
    """dx = dloss (p - [c = t]), planes (N, C, M); start and stop count planes."""
    for plane in range(start, stop):
        n, c = divmod(plane, p.shape[1])
        row, target, scale, truth = p[n, c], dx[n, c], dloss[n], t[n]
        for i in range(row.size):
            v = row[i]
            v -= ONE if truth[i] == c else ZERO
            target[i] = scale[i] * v


def soft_rows(
    start: int, stop: int, x: Any, s: Any, w: Any, smoothing: float, loss: Any, log_sum: Any
) -> None:
    """Sum q (log sum exp(x) - x), q = w ((1 - e) s + e / C), and log sum exp(x) a row."""
    keep, share = np.float32(1 - smoothing), np.float32(smoothing / x.shape[1])
    top = np.empty(LANES, np.float32)
    for n in range(start, stop):
        row, mass = x[n], s[n]
        top[:] = row[0]
        for first in range(0, row.size - LANES + 1, LANES):
            here = row[first : first + LANES]
            for i in range(LANES):
                v = here[i]
                top[i] = v if v > top[i] else top[i]
        largest = row[0]
        for i in range(LANES):
            largest = top[i] if top[i] > largest else largest
        for i in range(row.size - row.size % LANES, row.size):
            largest = row[i] if row[i] > largest else largest
        total = ZERO
        for i in range(row.size):
            d = row[i] - largest
            v = LOWEST if d < LOWEST else d
            e = exponential(v)
            total += ZERO if d < LOWEST else e
        log_total = largest + np.log(total)
        part = ZERO
        if w is None:
            for i in range(row.size):
                part += (keep * mass[i] + share) * (log_total - row[i])
        else:
            for i in range(row.size):
                part += w[i] * (keep * mass[i] + share) * (log_total - row[i])
        loss[n], log_sum[n] = part, log_total


def soft_rows_gradient(
    start: int,
    stop: int,
    x: Any,
    s: Any,
    dx: Any,
    ds: Any,
    w: Any,
    smoothing: float,
    log_sum: Any,
    dloss: Any,
) -> None:
    """dx = dloss (Q p - q) and ds = dloss w (1 - e) (log sum exp(x) - x) a row, unless they are None."""
    keep, share = np.float32(1 - smoothing), np.float32(smoothing / x.shape[1])
    q = np.empty(x.shape[1], np.float32)
    for n in range(start, stop):
        row, mass, log_total, up = x[n], s[n], log_sum[n], dloss[n]
        if dx is not None:
            total = ZERO
            if w is None:
                for i in range(row.size):
                    q[i] = keep * mass[i] + share
                    total += q[i]
            else:
                for i in range(row.size):
                    q[i] = w[i] * (keep * mass[i] + share)
                    total += q[i]
            target = dx[n]
            for i in range(row.size):
                d = row[i] - log_total
                v = LOWEST if d < LOWEST else d
                e = exponential(v)
                e = ZERO if d < LOWEST else e
                target[i] = up * (total * e - q[i])
        if ds is not None:
            target, scale = ds[n], up * keep
            if w is None:
                for i in range(row.size):
                    target[i] = scale * (log_total - row[i])
            else:
                for i in range(row.size):
                    target[i] = scale * w[i] * (log_total - row[i])
