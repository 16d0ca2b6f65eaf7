"""Distances as loops for the CPU, compiled when first used; layers.kernels.loops.run shares out the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

F32, F64 = np.float32, np.float64
ROWS = 64  # training samples that stay in the cache while the queries pass by


def l1_distances(start: int, stop: int, queries: Any, rows: Any, out: Any) -> None:
    """out[i, j] = sum |queries[i] - rows[j]| for i in start..stop, all float32.

    Four training samples at a time: a query's value is loaded once for all of them.
    """
    D = rows.shape[1]
    for first in range(0, len(rows), ROWS):
        block = rows[first : first + ROWS]
        whole = len(block) - len(block) % 4
        for i in range(start, stop):
            q, distances = queries[i], out[i, first : first + ROWS]
            for j in range(0, whole, 4):
                a, b, c, d = block[j], block[j + 1], block[j + 2], block[j + 3]
                sum_a, sum_b, sum_c, sum_d = F32(0), F32(0), F32(0), F32(0)
                for t in range(D):
                    sum_a += abs(q[t] - a[t])
                    sum_b += abs(q[t] - b[t])
                    sum_c += abs(q[t] - c[t])
                    sum_d += abs(q[t] - d[t])
                distances[j], distances[j + 1] = sum_a, sum_b
                distances[j + 2], distances[j + 3] = sum_c, sum_d
            for j in range(whole, len(block)):
                a, sum_a = block[j], F32(0)
                for t in range(D):
                    sum_a += abs(q[t] - a[t])
                distances[j] = sum_a


def exact_l1(start: int, stop: int, queries: Any, rows: Any, candidates: Any, out: Any) -> None:
    """out[i, j] = sum |queries[i] - rows[candidates[i, j]]| in float64."""
    for i in range(start, stop):
        q = queries[i]
        for j in range(candidates.shape[1]):
            x, total = rows[candidates[i, j]], F64(0)
            for t in range(len(q)):
                total += abs(F64(q[t]) - F64(x[t]))
            out[i, j] = total


def exact_l2(start: int, stop: int, queries: Any, rows: Any, candidates: Any, out: Any) -> None:
    """out[i, j] = |queries[i] - rows[candidates[i, j]]| in float64."""
    for i in range(start, stop):
        q = queries[i]
        for j in range(candidates.shape[1]):
            x, total = rows[candidates[i, j]], F64(0)
            for t in range(len(q)):
                difference = F64(q[t]) - F64(x[t])
                total += difference * difference
            out[i, j] = np.sqrt(total)


def exact_cosine(start: int, stop: int, queries: Any, rows: Any, candidates: Any, out: Any) -> None:
    """out[i, j] = 1 - q.x / (|q| |x|) in float64, 1 where q or x is zero."""
    for i in range(start, stop):
        q, qq = queries[i], F64(0)
        for t in range(len(q)):
            qq += F64(q[t]) * F64(q[t])
        for j in range(candidates.shape[1]):
            x, qx, xx = rows[candidates[i, j]], F64(0), F64(0)
            for t in range(len(q)):
                value = F64(x[t])
                qx += F64(q[t]) * value
                xx += value * value
            length = np.sqrt(qq) * np.sqrt(xx)
            out[i, j] = F64(1) - qx / length if length > F64(0) else F64(1)
