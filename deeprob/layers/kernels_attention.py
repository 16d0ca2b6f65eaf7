"""Attention without dropout on the CPU: matrix products into one buffer, the softmax in a loop between them.

A block of P is made, used, and overwritten by the next. The loops take a row of scores at a time, so that its
maximum, its exponentials and what its gradient needs are found in the first-level cache. Each equals the
formula of attention.py; the exponential is that of kernels_gate.py, and 0 from FLUSHED down.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._attention_blocks import Block
from .kernels import ZERO, run
from .kernels_gate import BIAS, C2, C3, C4, C5, C6, HALF, LN2_HIGH, LN2_LOW, LOG2E, ONE, SHIFT

LANES = 64  # maxima taken side by side
GRAIN = 16  # rows a thread
FLUSHED = np.float32(-88)  # its power of two has the exponent of zero


def forward(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool) -> Tensor:
    """Return Y (N, L, H, D) of q, k, v (N, H, L or S, E or D)."""
    y = q.new_empty(q.shape[0], q.shape[2], q.shape[1], v.shape[3])
    out, blocks = y.transpose(1, 2), list(Block.whole(q, k).split(causal))
    buffer = _buffer(blocks)
    for block in blocks:
        q_, k_, v_ = _heads(q[block.queries]), _heads(k[block.keys]), _heads(v[block.keys])
        p = torch.bmm(q_, k_.mT, out=_view(buffer, block))
        factor, first = _add_mask(p, mask, scale, block), block.queries[2].start if causal else -1
        run(softmax_rows, p.shape[:2].numel(), p.flatten(0, 1), factor, first, p.shape[1], grain=GRAIN)
        y_ = out[block.queries]
        y_.copy_(torch.bmm(p, v_).view(y_.shape))
    return y


def backward(
    dy: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dQ, dK and dV of dy (N, H, L, D), from the weights computed again."""
    dq, dk, dv = (torch.empty(x.shape) for x in (q, k, v))
    blocks = list(Block.whole(q, k).split(causal))
    scores, slopes = _buffer(blocks), _buffer(blocks)
    whole = bool(blocks) and blocks[0].num_keys == k.shape[2]  # a head's first block writes all its keys
    if not whole:
        dk.zero_()
        dv.zero_()
    for block in blocks:
        q_, dy_, dq_ = (_heads(x[block.queries]) for x in (q, dy, dq))
        k_, v_, dk_, dv_ = (_heads(x[block.keys]) for x in (k, v, dk, dv))
        p = torch.bmm(q_, k_.mT, out=_view(scores, block))
        ds = torch.bmm(dy_, v_.mT, out=_view(slopes, block))  # dP, and dS from the loop on
        factor, first = _add_mask(p, mask, scale, block), block.queries[2].start if causal else -1
        arrays = (p.flatten(0, 1), ds.flatten(0, 1), factor, scale, first, p.shape[1])
        run(attention_rows_gradient, p.shape[:2].numel(), *arrays, grain=GRAIN)
        torch.bmm(ds, k_, out=dq_)
        beta = 0 if whole and block.queries[2].start == 0 else 1
        dv_.baddbmm_(p.mT, dy_, beta=beta)
        dk_.baddbmm_(ds.mT, q_, beta=beta)
    return dq, dk, dv


def _buffer(blocks: list[Block]) -> Tensor:
    """Make room for the largest of the blocks."""
    return torch.empty(max((math.prod(block.extent) for block in blocks), default=0))


def _view(buffer: Tensor, block: Block) -> Tensor:
    """View the start of the buffer as a block's entries (heads, rows, keys)."""
    return buffer[: math.prod(block.extent)].view(block.extent)


def _heads(x: Tensor) -> Tensor:
    """View x (N, H, L, D) as (N H, L, D)."""
    return x[0] if len(x) == 1 else x.flatten(0, 1)


def _add_mask(s: Tensor, mask: Tensor | None, scale: float, block: Block) -> float:
    """Make s the whole scores if there is a mask. Returns what is left to multiply them by."""
    if mask is None:
        return scale
    samples, heads, _ = (cut.stop - cut.start for cut in block.queries)
    s.mul_(scale).view(samples, heads, *s.shape[1:]).add_(block.of_mask(mask))
    return 1.0


def softmax_rows(start: int, stop: int, s: Any, scale: float, first: int, length: int) -> None:
    """S = softmax(scale s) a row; first >= 0: row n is query first + n % length and reads no later key."""
    top = np.empty(LANES, np.float32)
    factor = np.float32(scale)
    for n in range(start, stop):
        row = s[n] if first < 0 else s[n][: first + n % length + 1]
        if first >= 0:
            s[n][row.size :] = ZERO
        top[:] = -np.inf
        for begin in range(0, row.size - LANES + 1, LANES):
            part = row[begin : begin + LANES]
            for i in range(LANES):
                v = factor * part[i]
                top[i] = v if v > top[i] else top[i]
        largest = np.float32(-np.inf)
        for i in range(row.size - row.size % LANES, row.size):
            v = factor * row[i]
            largest = v if v > largest else largest
        for i in range(LANES):
            largest = top[i] if top[i] > largest else largest
        if largest == -np.inf:  # no key is left, or no score is a number
            largest = ZERO
        total = ZERO
        for i in range(row.size):
            d = factor * row[i] - largest
            v = FLUSHED if d < FLUSHED else d
            k = np.floor(v * LOG2E + HALF)
            f = v - k * LN2_HIGH - k * LN2_LOW
            power = np.int32((np.int32(k) + BIAS) << SHIFT).view(np.float32)
            e = power * (ONE + f * (ONE + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6))))))
            row[i] = e
            total += e
        share = ONE / total if total != ZERO else ZERO
        for i in range(row.size):
            row[i] *= share


def attention_rows_gradient(
    start: int, stop: int, s: Any, dp: Any, factor: float, scale: float, first: int, length: int
) -> None:
    """S becomes P = softmax(factor s), and dp becomes scale dS, dS = P (dp - sum P dp), a row."""
    top = np.empty(LANES, np.float32)
    factor_, scale_ = np.float32(factor), np.float32(scale)
    for n in range(start, stop):
        size = s.shape[1] if first < 0 else first + n % length + 1
        row, up = s[n][:size], dp[n][:size]
        if first >= 0:
            s[n][size:] = ZERO
            dp[n][size:] = ZERO
        top[:] = -np.inf
        for begin in range(0, row.size - LANES + 1, LANES):
            part = row[begin : begin + LANES]
            for i in range(LANES):
                v = factor_ * part[i]
                top[i] = v if v > top[i] else top[i]
        largest = np.float32(-np.inf)
        for i in range(row.size - row.size % LANES, row.size):
            v = factor_ * row[i]
            largest = v if v > largest else largest
        for i in range(LANES):
            largest = top[i] if top[i] > largest else largest
        if largest == -np.inf:
            largest = ZERO
        total = dot = ZERO
        for i in range(row.size):
            d = factor_ * row[i] - largest
            v = FLUSHED if d < FLUSHED else d
            k = np.floor(v * LOG2E + HALF)
            f = v - k * LN2_HIGH - k * LN2_LOW
            power = np.int32((np.int32(k) + BIAS) << SHIFT).view(np.float32)
            e = power * (ONE + f * (ONE + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6))))))
            row[i] = e
            total += e
            dot += e * up[i]
        share = ONE / total if total != ZERO else ZERO
        dot *= share
        for i in range(row.size):
            p = share * row[i]
            row[i] = p
            up[i] = scale_ * p * (up[i] - dot)
