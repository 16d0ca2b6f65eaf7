"""dW of a convolution tap by tap, for large maps on the CPU; conv.py holds the formula that it equals.

A map x[n, c] is laid out as one row with its zeros around, split into phases of the stride. dy is laid out on
lines as wide. Then a tap is an offset into the row, and its products with dy are one long sum:

few channels    three taps with three maps of dy keep nine sums in registers, and the multipliers busy
many            one matrix product a tap, of dy with the rows read from the tap's offset on: nothing is copied
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import kernels
from .kernels import ZERO

MANY = 48  # channels, of x and of dy, from which a matrix product has enough to do


def weight_gradient_by_taps(
    dy: Tensor, x: Tensor, shape: Sequence[int], stride: Any, padding: Any, dilation: Any
) -> Tensor:
    """Return dW (O, C, KH, KW) of dy (N, O, H', W') and x (N, C, H, W)."""
    out_channels, in_channels, *kernel = shape
    lines = [-(-(size + 2 * a) // s) for size, a, s in zip(x.shape[2:], padding, stride, strict=True)]
    offsets = []
    for i in range(kernel[0]):
        down, phase = divmod(i * dilation[0], stride[0])
        for j in range(kernel[1]):
            along, side = divmod(j * dilation[1], stride[1])
            offsets.append(((phase * stride[1] + side) * lines[0] + down) * lines[1] + along)
    geometry = (tuple(stride), tuple(padding), tuple(lines))
    if min(out_channels, in_channels) >= MANY:
        dweight = _products(dy, x, offsets, *geometry)
    else:
        dweight = _sums(dy, x, offsets, *geometry)
    return dweight.reshape(tuple(shape))


def _products(dy: Tensor, x: Tensor, offsets: list[int], stride: Any, padding: Any, lines: Any) -> Tensor:
    """Return dW (O, C, taps), a matrix product a sample and tap."""
    height, width = dy.shape[2:]
    length = (height - 1) * lines[1] + width
    upstream = dy.new_zeros(dy.shape[1], height, lines[1])
    source = x.new_zeros(x.shape[1], (stride[0] * stride[1] * lines[0] + 1) * lines[1])
    dweight = x.new_zeros(len(offsets), dy.shape[1], x.shape[1])
    rows = upstream.flatten(1)[:, :length]
    taps = [(dw, source[:, at : at + length].t()) for dw, at in zip(dweight, offsets, strict=True)]
    for one, maps in zip(dy, x, strict=True):
        upstream[:, :, :width] = one
        kernels.run(split_maps, len(maps), maps, stride, padding, lines, source)
        for dw, tap in taps:
            dw.addmm_(rows, tap)
    return dweight.permute(1, 2, 0)


def _sums(dy: Tensor, x: Tensor, offsets: list[int], stride: Any, padding: Any, lines: Any) -> Tensor:
    """Return dW (O, C, taps), the samples shared out among the threads."""
    num_taps = len(offsets)
    offsets = offsets + offsets[-1:] * (-num_taps % 3)
    num_parts = min(torch.get_num_threads(), len(x))
    sums = x.new_zeros(num_parts, x.shape[1], -(-dy.shape[1] // 3) * 3, len(offsets))
    geometry = (np.array(offsets), stride, padding, lines)
    kernels.run(tap_products, num_parts, dy, x, *geometry, num_parts, sums)
    return sums.sum(0)[:, : dy.shape[1], :num_taps].transpose(0, 1)


def split_maps(start: int, stop: int, x: Any, stride: Any, padding: Any, lines: Any, source: Any) -> None:
    """Lay out the maps x[c] as the rows source[c]."""
    for c in range(start, stop):
        split_map(x[c], stride, padding, lines, source[c])


def split_map(x: Any, stride: Any, padding: Any, lines: Any, source: Any) -> None:
    """Lay out a map (H, W) as one row: its phases one after another, each `lines` high and wide."""
    height, width = x.shape
    size = lines[0] * lines[1]
    for vertical in range(stride[0]):
        for down in range(lines[0]):
            h = down * stride[0] + vertical - padding[0]
            if h < 0 or h >= height:
                continue
            row, target = x[h], source[vertical * stride[1] * size + down * lines[1] :]
            if stride[1] == 2:  # both phases at once: neighbours are loaded as one vector
                even = target[padding[1] % 2 * size + padding[1] // 2 :]
                odd = target[(padding[1] + 1) % 2 * size + (padding[1] + 1) // 2 :]
                for w in range(width // 2):
                    even[w] = row[2 * w]
                    odd[w] = row[2 * w + 1]
                if width % 2:
                    even[width // 2] = row[width - 1]
                continue
            for first in range(stride[1]):
                side = (first + padding[1]) % stride[1]
                line = target[side * size + (first + padding[1]) // stride[1] :]
                for w in range((width - first + stride[1] - 1) // stride[1]):
                    line[w] = row[first + w * stride[1]]


def tap_products(
    start: int,
    stop: int,
    dy: Any,
    x: Any,
    offsets: Any,
    stride: Any,
    padding: Any,
    lines: Any,
    num_parts: int,
    dw: Any,
) -> None:
    """Add to dw[part, c, o, t] all dy[n, o, p] x[n, c, s p + d k - a] of tap t = k, part by part of n."""
    num_samples, out_channels, height, width = dy.shape
    across = lines[1]
    length = (height - 1) * across + width
    upstream = np.zeros((-(-out_channels // 3) * 3, height * across), np.float32)
    source = np.zeros((stride[0] * stride[1] * lines[0] + 1) * across, np.float32)
    for part in range(start, stop):
        for n in range(num_samples * part // num_parts, num_samples * (part + 1) // num_parts):
            for o in range(out_channels):
                for h in range(height):
                    line, row = upstream[o, h * across :], dy[n, o, h]
                    for w in range(row.size):
                        line[w] = row[w]
            for c in range(x.shape[1]):
                split_map(x[n, c], stride, padding, lines, source)
                for t in range(0, offsets.size, 3):
                    x0, x1, x2 = source[offsets[t] :], source[offsets[t + 1] :], source[offsets[t + 2] :]
                    for o in range(0, len(upstream), 3):
                        u0, u1, u2 = upstream[o], upstream[o + 1], upstream[o + 2]
                        a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = ZERO
                        for p in range(length):
                            a0 += u0[p] * x0[p]
                            a1 += u0[p] * x1[p]
                            a2 += u0[p] * x2[p]
                            b0 += u1[p] * x0[p]
                            b1 += u1[p] * x1[p]
                            b2 += u1[p] * x2[p]
                            c0 += u2[p] * x0[p]
                            c1 += u2[p] * x1[p]
                            c2 += u2[p] * x2[p]
                        sums = dw[part, c, o : o + 3, t : t + 3]
                        sums[0, 0] += a0
                        sums[0, 1] += a1
                        sums[0, 2] += a2
                        sums[1, 0] += b0
                        sums[1, 1] += b1
                        sums[1, 2] += b2
                        sums[2, 0] += c0
                        sums[2, 1] += c1
                        sums[2, 2] += c2
