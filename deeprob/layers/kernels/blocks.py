"""The loops of the fused blocks, each one pass over memory; loops.py runs them.

Maps are planes (N, C, M), or rows (N, C) with channels innermost. A gate tells again whether the rectifier
let an entry through. In place: what is written may be what was read.
"""

from typing import Any

import numpy as np

from .exponential import HALF, LOWEST, ONE, exponential
from .gelu import A1, A2, A3, A4, A5, DENSITY, ROOT_HALF, P
from .half import narrow, widen
from .loops import ZERO

BLOCK = 64  # rows that are summed in float32 before the sum goes to float64


def plane_rectified(start: int, stop: int, z: Any, a: Any, c0: Any, y: Any) -> None:
    """y = max(0, a z + c0) a channel; start and stop count planes."""
    for p in range(start, stop):
        n, c = divmod(p, z.shape[1])
        source, target = z[n, c], y[n, c]
        scale, shift = a[c], c0[c]
        for i in range(source.size):
            v = scale * widen(source[i]) + shift
            target[i] = narrow(ZERO if v < ZERO else v, target)  # NaN is not below zero: it comes through


def plane_rectified_sum(start: int, stop: int, z: Any, a: Any, c0: Any, s: Any, b: Any, y: Any) -> None:
    """y = max(0, a z + c0 + b s) a channel; start and stop count planes."""
    for p in range(start, stop):
        n, c = divmod(p, z.shape[1])
        source, side, target = z[n, c], s[n, c], y[n, c]
        scale, shift, slope = a[c], c0[c], b[c]
        for i in range(source.size):
            v = scale * widen(source[i]) + shift + slope * widen(side[i])
            target[i] = narrow(ZERO if v < ZERO else v, target)


def plane_gated_dots(
    start: int, stop: int, dy: Any, z: Any, a: Any, c0: Any, centre: Any, total: Any, dot: Any
) -> None:
    """Sum dy and dy (z - centre) over every channel, where a z + c0 > 0."""
    for c in range(start, stop):
        k, scale, shift = centre[c], a[c], c0[c]
        for n in range(z.shape[0]):
            plane, upstream = z[n, c], dy[n, c]
            part = part_dot = ZERO
            for i in range(plane.size):
                v, d = widen(plane[i]), widen(upstream[i])
                d = d if scale * v + shift > ZERO else ZERO
                part += d
                part_dot += d * (v - k)
            total[c] += part
            dot[c] += part_dot


def plane_gated_combine(
    start: int, stop: int, dy: Any, z: Any, a: Any, c0: Any, b: Any, c1: Any, dz: Any
) -> None:
    """dz = a dy + b z + c1 a channel, dy where a z + c0 > 0, else 0 in its place; a is w r, as forward."""
    for p in range(start, stop):
        n, c = divmod(p, z.shape[1])
        source, upstream, target = z[n, c], dy[n, c], dz[n, c]
        scale, gate, slope, shift = a[c], c0[c], b[c], c1[c]
        for i in range(source.size):
            v, d = widen(source[i]), widen(upstream[i])
            d = d if scale * v + gate > ZERO else ZERO
            target[i] = narrow(scale * d + slope * v + shift, target)


def row_rectified(start: int, stop: int, z: Any, a: Any, c0: Any, y: Any) -> None:
    """y = max(0, a z + c0) a column."""
    for r in range(start, stop):
        source, target = z[r], y[r]
        for c in range(source.size):
            v = a[c] * widen(source[c]) + c0[c]
            target[c] = narrow(ZERO if v < ZERO else v, target)


def row_rectified_sum(start: int, stop: int, z: Any, a: Any, c0: Any, s: Any, b: Any, y: Any) -> None:
    """y = max(0, a z + c0 + b s) a column."""
    for r in range(start, stop):
        source, side, target = z[r], s[r], y[r]
        for c in range(source.size):
            v = a[c] * widen(source[c]) + c0[c] + b[c] * widen(side[c])
            target[c] = narrow(ZERO if v < ZERO else v, target)


def row_gated_dots(
    start: int, stop: int, dy: Any, z: Any, a: Any, c0: Any, centre: Any, total: Any, dot: Any
) -> None:
    """Sum dy and dy (z - centre) over every column, where a z + c0 > 0."""
    a, c0, centre = a[start:stop], c0[start:stop], centre[start:stop]
    total, dot = total[start:stop], dot[start:stop]
    s, q = np.empty(centre.size, np.float32), np.empty(centre.size, np.float32)
    num_rows = z.shape[0]
    for first in range(0, num_rows, BLOCK):
        s[:] = ZERO
        q[:] = ZERO
        last = min(first + BLOCK, num_rows)
        for r in range(first, last - 1, 2):  # two rows at a time: half the traffic of s and q
            even, odd = z[r][start:stop], z[r + 1][start:stop]
            up, down = dy[r][start:stop], dy[r + 1][start:stop]
            for c in range(even.size):
                v, w, d, e = widen(even[c]), widen(odd[c]), widen(up[c]), widen(down[c])
                d = d if a[c] * v + c0[c] > ZERO else ZERO
                e = e if a[c] * w + c0[c] > ZERO else ZERO
                s[c] += d + e
                q[c] += d * (v - centre[c]) + e * (w - centre[c])
        if (last - first) % 2:
            row, up = z[last - 1][start:stop], dy[last - 1][start:stop]
            for c in range(row.size):
                v, d = widen(row[c]), widen(up[c])
                d = d if a[c] * v + c0[c] > ZERO else ZERO
                s[c] += d
                q[c] += d * (v - centre[c])
        for c in range(s.size):
            total[c] += s[c]
            dot[c] += q[c]


def row_gated_combine(
    start: int, stop: int, dy: Any, z: Any, a: Any, c0: Any, b: Any, c1: Any, dz: Any
) -> None:
    """dz = a dy + b z + c1 a column, dy where a z + c0 > 0, else 0 in its place; a is w r, as forward."""
    for r in range(start, stop):
        source, upstream, target = z[r], dy[r], dz[r]
        for c in range(source.size):
            v, d = widen(source[c]), widen(upstream[c])
            d = d if a[c] * v + c0[c] > ZERO else ZERO
            target[c] = narrow(a[c] * d + b[c] * v + c1[c], target)


def gelu_and_gradient(start: int, stop: int, u: Any, dg: Any, g: Any, parts: Any, size: int) -> None:
    """G = u Phi(u) and, over dg, du = dg (Phi(u) + u phi(u)), a row; parts sum du over `size` rows each.

    As gelu.py, both from one exponential.
    """
    for n in range(start, stop):
        row, up, target, total = u[n], dg[n], g[n], parts[n // size]
        for i in range(row.size):
            v = row[i]
            w = abs(v)
            e = -HALF * w * w
            e = e if e > LOWEST else LOWEST
            e = exponential(e)
            t = ONE / (ONE + P * ROOT_HALF * w)
            tail = HALF * e * (t * (A1 + t * (A2 + t * (A3 + t * (A4 + t * A5)))))
            phi = tail if v < ZERO else ONE - tail
            d = up[i] * (phi + v * DENSITY * e)
            target[i] = v * phi
            up[i] = d
            total[i] += d
