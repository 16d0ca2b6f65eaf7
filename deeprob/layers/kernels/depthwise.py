"""Loops for dW of a convolution with one kernel a channel, where a matrix product would have one column."""

from typing import Any

import numpy as np

from .loops import ZERO


def depthwise_planes(
    start: int, stop: int, dy: Any, x: Any, stride: Any, padding: Any, dilation: Any, dw: Any
) -> None:
    """Add to dw[c, i, j] all dy[n, c, o, p] x[n, c, s o + d i - a, s p + d j - a]; c from start to stop."""
    height, width = x.shape[2:]
    step = stride[1]
    for c in range(start, stop):
        for n in range(x.shape[0]):
            for i in range(dw.shape[1]):
                for j in range(dw.shape[2]):
                    shift = j * dilation[1] - padding[1]
                    first = max(0, -(shift // step))
                    last = min(dy.shape[3], (width - shift + step - 1) // step)
                    total = ZERO
                    for o in range(dy.shape[2]):
                        row = o * stride[0] + i * dilation[0] - padding[0]
                        if row < 0 or row >= height or last <= first:
                            continue
                        up, source = dy[n, c, o][first:last], x[n, c, row][first * step + shift :]
                        if step == 1:
                            for p in range(up.size):
                                total += up[p] * source[p]
                        else:
                            for p in range(up.size):
                                total += up[p] * source[p * step]
                    dw[c, i, j] += total


def depthwise_padded_planes(
    start: int, stop: int, dy: Any, x: Any, padding: Any, dilation: Any, dw: Any
) -> None:
    """Do the same at stride 1: on lines of one length, zeros between, each tap is one long product."""
    height, width = x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1]
    size = (dy.shape[2] - 1) * width + dy.shape[3]
    source, up = np.zeros(height * width, np.float32), np.zeros(dy.shape[2] * width, np.float32)
    for c in range(start, stop):
        for n in range(x.shape[0]):
            for h in range(x.shape[2]):
                line, row = source[(h + padding[0]) * width + padding[1] :], x[n, c, h]
                for w in range(row.size):
                    line[w] = row[w]
            for h in range(dy.shape[2]):
                line, row = up[h * width :], dy[n, c, h]
                for w in range(row.size):
                    line[w] = row[w]
            for i in range(dw.shape[1]):
                for j in range(dw.shape[2]):
                    shifted, total = source[i * dilation[0] * width + j * dilation[1] :], ZERO
                    for p in range(size):
                        total += up[p] * shifted[p]
                    dw[c, i, j] += total


def depthwise_rows(
    start: int, stop: int, dy: Any, x: Any, stride: Any, padding: Any, dilation: Any, dw: Any
) -> None:
    """Do the same to dw[n, i, j, c], a sample's share, channels innermost; n from start to stop."""
    height, width = x.shape[1:3]
    step = stride[1]
    for n in range(start, stop):
        for i in range(dw.shape[1]):
            for o in range(dy.shape[1]):
                row = o * stride[0] + i * dilation[0] - padding[0]
                if row < 0 or row >= height:
                    continue
                for j in range(dw.shape[2]):
                    target, shift = dw[n, i, j], j * dilation[1] - padding[1]
                    first = max(0, -(shift // step))
                    last = min(dy.shape[2], (width - shift + step - 1) // step)
                    four = (
                        max(0, last - first) // 4 * 4
                    )  # four pixels at a time: a quarter of target's traffic
                    for p in range(first, first + four, 4):
                        q = p * step + shift
                        up0, up1, up2, up3 = dy[n, o, p], dy[n, o, p + 1], dy[n, o, p + 2], dy[n, o, p + 3]
                        x0, x1 = x[n, row, q], x[n, row, q + step]
                        x2, x3 = x[n, row, q + 2 * step], x[n, row, q + 3 * step]
                        for c in range(target.size):
                            near, far = up0[c] * x0[c] + up1[c] * x1[c], up2[c] * x2[c] + up3[c] * x3[c]
                            target[c] += near + far
                    for p in range(first + four, last):
                        up, source = dy[n, o, p], x[n, row, p * step + shift]
                        for c in range(target.size):
                            target[c] += up[c] * source[c]
