"""Attention without dropout on the CPU: products and softmax of some rows at a time, all in the cache.

A head's keys and values are copied into panels once. Then some rows of the scores are made by tiles of a
matrix product in registers, become P in a loop that takes a row at a time, and are multiplied away while they
are in the cache. Each loop equals the formula of attention.py; the exponential is that of gelu.py,
and 0 from FLUSHED down.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .exponential import ONE, exponential
from .loops import ZERO, run
from .product import multiply, pack
from .tile import PANEL, ROWS

FLUSHED = np.float32(-88)  # its power of two has the exponent of zero
BLOCK = 1 << 16  # entries of P and of dP at a time


def forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool) -> Tensor:
    """Return Y (N, L, H, D) of q, k, v (N, H, L or S, E or D)."""
    size = v.shape[3]
    q, k, v = (filled_up(x) for x in (q, k, v))
    y = q.new_empty(q.shape[0], q.shape[2], q.shape[1], v.shape[3])
    if k.shape[2] == 0:
        return cut(y.zero_(), size)
    arrays = (q, k, v, mask_rows(mask, q, k), scale, causal, y.transpose(1, 2))
    run(attend_heads, q.shape[:2].numel(), *arrays)
    return cut(y, size)


def backward(
    dy: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dQ, dK and dV of dy (N, H, L, D), from the weights computed again."""
    sizes = q.shape[3], k.shape[3], v.shape[3]
    dy, q, k, v = (filled_up(x) for x in (dy, q, k, v))
    dq, dk, dv = (torch.empty(x.shape) for x in (q, k, v))
    if 0 in (q.shape[2], k.shape[2]):
        dq, dk, dv = (x.zero_() for x in (dq, dk, dv))
    else:
        arrays = (dy, q, k, v, mask_rows(mask, q, k), scale, causal, dq, dk, dv, None)
        run(attend_heads_backward, q.shape[:2].numel(), *arrays)
    return cut(dq, sizes[0]), cut(dk, sizes[1]), cut(dv, sizes[2])


def backward_of_self_attention(dy: Tensor, qkv: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return Y (N, L, H, E) again, and dQ, dK, dV (N, L, 3, H, E), of dy (N, H, L, E).

    qkv: Q, K and V (3, N, H, L, E).
    """
    num_samples, heads, length, size = dy.shape
    dy, q, k, v = (filled_up(x) for x in (dy, *qkv.unbind()))
    y = dy.new_empty(num_samples, length, heads, dy.shape[3])
    dqkv = dy.new_empty(num_samples, length, 3, heads, dy.shape[3])
    if length:
        gradients = dqkv.permute(2, 0, 3, 1, 4).unbind()
        arrays = (dy, q, k, v, None, scale, False, *gradients, y.transpose(1, 2))
        run(attend_heads_backward, num_samples * heads, *arrays)
    return cut(y, size), cut(dqkv, size)


def mask_rows(mask: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
    """View a mask as (N, H, L, S) with the numbers of a row side by side."""
    return None if mask is None else by_row(mask.detach().expand(*q.shape[:3], k.shape[2]))


def filled_up(x: Tensor) -> Tensor:
    """Return x (N, H, L, E) with its columns side by side, and zeros up to whole panels of them."""
    x = by_row(x.detach())
    missing = -x.shape[3] % PANEL if x.shape[3] else PANEL
    return torch.nn.functional.pad(x, (0, missing)) if missing else x


def cut(x: Tensor, size: int) -> Tensor:
    """Return the columns of x before what filled it up."""
    return x if x.shape[-1] == size else x[..., :size].contiguous()


def by_row(x: Tensor) -> Tensor:
    """Return x with the numbers of a row side by side."""
    return x if x.stride(-1) == 1 else x.contiguous()


def attend_heads(
    start: int, stop: int, q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool, y: Any
) -> None:
    """Y of some of the N H heads."""
    heads, num_queries, size = q.shape[1:]
    num_keys, width = v.shape[2:]
    length = row_length(num_keys)
    step = rows_of_block(num_queries, length)
    keys = np.empty(length * size, np.float32)
    values = np.empty(num_keys * width, np.float32)
    scores = np.empty((step, length), np.float32)
    for n in range(start, stop):
        sample, head = n // heads, n % heads
        pack(k[sample, head].T, keys, size, 0)
        pack(v[sample, head], values, num_keys, 0)
        for i in range(0, num_queries, step):
            count = min(step, num_queries - i)
            seen = min(i + count, num_keys) if causal else num_keys
            p, first, factor = scores[:count, :seen], i if causal else -1, scale
            multiply(q[sample, head, i : i + count], keys, size, p, False)
            if mask is not None:
                add_mask(p, mask[sample, head, i : i + count, :seen], scale)
                factor = 1.0
            softmax_rows(scores, count, seen, factor, first)
            multiply(p, values, num_keys, y[sample, head, i : i + count], False)


def attend_heads_backward(
    start: int,
    stop: int,
    dy: Any,
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    scale: float,
    causal: bool,
    dq: Any,
    dk: Any,
    dv: Any,
    y: Any,
) -> None:
    """DQ, dK, dV, and Y if there is one, of some of the N H heads."""
    heads, num_queries, size = q.shape[1:]
    num_keys, width = v.shape[2:]
    length = row_length(num_keys)
    step = rows_of_block(num_queries, 2 * length)
    keys_turned = np.empty(length * size, np.float32)
    values_turned = np.empty(length * width, np.float32)
    keys = np.empty(num_keys * size, np.float32)
    values = np.empty(num_keys * width if y is not None else 0, np.float32)
    queries = np.empty(step * size, np.float32)
    upstream = np.empty(step * width, np.float32)
    scores = np.empty((step, length), np.float32)
    slopes = np.empty((step, length), np.float32)
    for n in range(start, stop):
        sample, head = n // heads, n % heads
        k_, v_, dk_, dv_ = k[sample, head], v[sample, head], dk[sample, head], dv[sample, head]
        pack(k_.T, keys_turned, size, 0)
        pack(v_.T, values_turned, width, 0)
        pack(k_, keys, num_keys, 0)
        if y is not None:
            pack(v_, values, num_keys, 0)
        if causal:
            fill(dk_, ZERO)
            fill(dv_, ZERO)
        for i in range(0, num_queries, step):
            count = min(step, num_queries - i)
            seen = min(i + count, num_keys) if causal else num_keys
            q_, dy_ = q[sample, head, i : i + count], dy[sample, head, i : i + count]
            p, ds, first, factor = scores[:count, :seen], slopes[:count, :seen], i if causal else -1, scale
            multiply(q_, keys_turned, size, p, False)
            multiply(dy_, values_turned, width, ds, False)  # dP, and dS from the loop on
            if mask is not None:
                add_mask(p, mask[sample, head, i : i + count, :seen], scale)
                factor = 1.0
            softmax_rows_gradient(scores, slopes, count, seen, factor, scale, first)
            pack(q_, queries, count, 0)
            pack(dy_, upstream, count, 0)
            multiply(ds, keys, num_keys, dq[sample, head, i : i + count], False)
            multiply(ds.T, queries, count, dk_[:seen], causal or i > 0)
            multiply(p.T, upstream, count, dv_[:seen], causal or i > 0)
            if y is not None:
                multiply(p, values, num_keys, y[sample, head, i : i + count], False)


def row_length(num_keys: int) -> int:
    """Return the length of a row of scores: an odd number of panels, so that rows lie in all of the cache."""
    return (-(-num_keys // PANEL) | 1) * PANEL


def rows_of_block(num_queries: int, length: int) -> int:
    """Return how many rows of scores to make at a time: whole tiles, as many as fit."""
    return max(1, min(-(-num_queries // ROWS), BLOCK // (ROWS * length))) * ROWS


def fill(x: Any, value: Any) -> None:
    """Set all of a matrix to a number."""
    for n in range(x.shape[0]):
        for i in range(x.shape[1]):
            x[n, i] = value


def add_mask(s: Any, mask: Any, scale: float) -> None:
    """S = scale s + M."""
    factor = np.float32(scale)
    for n in range(s.shape[0]):
        row, added = s[n], mask[n]
        for i in range(row.size):
            row[i] = factor * row[i] + added[i]


def softmax_rows(s: Any, count: int, size: int, factor: float, first: int) -> None:
    """S = softmax(factor s) of count rows of s, size numbers each.

    first >= 0: row n is query first + n and reads no later key; what is beyond becomes 0.
    """
    top = np.empty(PANEL, np.float32)
    factor_ = np.float32(factor)
    for n in range(count):
        seen = size if first < 0 else min(first + n + 1, size)
        row = s[n, :seen]
        for i in range(seen, size):
            s[n, i] = ZERO
        largest = peak(row, factor_, top)
        total = ZERO
        for i in range(row.size):
            d = factor_ * row[i] - largest
            v = FLUSHED if d < FLUSHED else d
            e = exponential(v)
            row[i] = e
            total += e
        share = ONE / total if total != ZERO else ZERO
        for i in range(row.size):
            row[i] *= share


def softmax_rows_gradient(
    s: Any, dp: Any, count: int, size: int, factor: float, scale: float, first: int
) -> None:
    """S becomes P = softmax(factor s), and dp becomes scale dS, dS = P (dp - sum P dp)."""
    top = np.empty(PANEL, np.float32)
    factor_, scale_ = np.float32(factor), np.float32(scale)
    for n in range(count):
        seen = size if first < 0 else min(first + n + 1, size)
        row, up = s[n, :seen], dp[n, :seen]
        for i in range(seen, size):
            s[n, i] = dp[n, i] = ZERO
        largest = peak(row, factor_, top)
        total = dot = ZERO
        for i in range(row.size):
            d = factor_ * row[i] - largest
            v = FLUSHED if d < FLUSHED else d
            e = exponential(v)
            row[i] = e
            total += e
            dot += e * up[i]
        share = ONE / total if total != ZERO else ZERO
        dot *= share
        for i in range(row.size):
            p = share * row[i]
            row[i] = p
            up[i] = scale_ * p * (up[i] - dot)


def peak(row: Any, factor: Any, top: Any) -> Any:
    """Return the largest of factor times a row; 0 where no key is left, or no score is a number."""
    for i in range(PANEL):
        top[i] = -np.inf
    whole = row.size - row.size % PANEL
    for begin in range(0, whole, PANEL):
        part = row[begin : begin + PANEL]
        for i in range(PANEL):
            v = factor * part[i]
            top[i] = v if v > top[i] else top[i]
    largest = np.float32(-np.inf)
    for i in range(whole, row.size):
        v = factor * row[i]
        largest = v if v > largest else largest
    for i in range(PANEL):
        largest = top[i] if top[i] > largest else largest
    return ZERO if largest == -np.inf else largest
