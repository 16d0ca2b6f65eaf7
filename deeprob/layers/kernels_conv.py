"""Loops and matrix products for the convolution on the CPU; conv.py holds the formulas they equal.

columns     writes every window of a map out as one column, so that dW is one matrix product (im2col)
taps        dW as sums over whole maps, nine at a time, where a map is large
pointwise   a 1x1 convolution of a contiguous map is one matrix product a sample
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import kernels
from ._function import is_plain
from .kernels import ZERO
from .kernels_depthwise import depthwise_padded_planes, depthwise_planes, depthwise_rows
from .linear import matmul_transposed


def window_columns(
    start: int,
    stop: int,
    x: Any,
    channels: int,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    out: Any,
) -> None:
    """Set out[o, p, i, j C + c] = x[s o + d i - a, (s p + d j - a) C + c], zero outside; o is the range."""
    height, width = x.shape[0], x.shape[1] // channels
    step = dilation[1]
    run = kernel[1] if step == 1 else 1  # neighbouring taps lie side by side, and are copied as one
    for o in range(start, stop):
        for p in range(out.shape[1]):
            for i in range(kernel[0]):
                row = o * stride[0] + i * dilation[0] - padding[0]
                for j in range(0, kernel[1], run):
                    column = p * stride[1] + j * step - padding[1]
                    target = out[o, p, i][j * channels : (j + run) * channels]
                    first = max(0, -column)
                    last = min(run, width - column)
                    if row < 0 or row >= height or last <= first:
                        target[:] = ZERO
                        continue
                    target[: first * channels] = ZERO
                    target[last * channels :] = ZERO
                    inside = target[first * channels : last * channels]
                    source = x[row][(column + first) * channels :]
                    for c in range(inside.size):
                        inside[c] = source[c]


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
    """Add to dw[part, c, o, t] all dy[n, o, p] x[n, c, s p + d k - a] of tap t = k and a part of the samples.

    A map x[n, c] is laid out as one row with its zeros around, split into phases of the stride, `lines` high
    and wide: then a tap is an offset, and its products with a map of dy, laid out on lines as wide, are one
    long sum. Three taps with three maps keep nine sums in registers, and the multipliers busy.
    """
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
                for h in range(x.shape[2]):
                    down, phase = divmod(h + padding[0], stride[0])
                    row = x[n, c, h]
                    for side in range(stride[1]):
                        first = (side - padding[1]) % stride[1]  # the first pixel of this phase
                        at = ((phase * stride[1] + side) * lines[0] + down) * across
                        line = source[at + (first + padding[1]) // stride[1] :]
                        if stride[1] == 1:
                            for w in range(row.size):
                                line[w] = row[w]
                        else:
                            for k in range((row.size - first + stride[1] - 1) // stride[1]):
                                line[k] = row[first + k * stride[1]]
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


def fast_weight_gradient(
    dy: Tensor, x: Tensor, shape: Sequence[int], stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor | None:
    """Return dW (O, C/G, KH, KW) by loops and matrix products; None where conv.py's formula is to be used."""
    if not is_plain(dy, x) or not dy.numel() or not x.numel():
        return None
    planes = x.is_contiguous()
    x_rows, dy_rows = x.permute(0, 2, 3, 1), dy.permute(0, 2, 3, 1)
    if groups > 1:
        if shape[1] != 1 or shape[0] != groups:
            return None
        if planes:
            dweight = x.new_zeros(shape[0], *shape[2:])
            if tuple(stride) == (1, 1):
                kernels.run(depthwise_padded_planes, shape[0], dy.contiguous(), x, padding, dilation, dweight)
            else:
                arrays = (dy.contiguous(), x, stride, padding, dilation, dweight)
                kernels.run(depthwise_planes, shape[0], *arrays)
            return dweight[:, None]
        shares = x.new_zeros(len(x), *shape[2:], shape[0])
        given = (dy_rows.contiguous(), x_rows.contiguous(), stride, padding, dilation, shares)
        kernels.run(depthwise_rows, len(x), *given)
        return shares.sum(0).permute(2, 0, 1)[:, None]
    out_channels, in_channels, *kernel = shape
    if kernel == [1, 1] and tuple(padding) == (0, 0):
        if planes and dy.is_contiguous():
            return pointwise_weight_gradient(dy, x, stride)
        rows = x_rows[:, :: stride[0], :: stride[1]].reshape(-1, in_channels)
        return (dy_rows.reshape(-1, out_channels).t() @ rows)[:, :, None, None]
    height, width = dy.shape[2:]
    pixels = height * width
    if pixels >= SMALL_MAP:
        return weight_gradient_by_taps(dy, x, shape, stride, padding, dilation)
    maps = x_rows.reshape(*x_rows.shape[:2], -1)
    upstream_rows = dy_rows.reshape(-1, out_channels)
    chunk = -(-SMALL_MAP // pixels)
    dweight = x.new_zeros(out_channels, kernel[0] * kernel[1] * in_channels)
    columns = x.new_empty(chunk, height, width, kernel[0], kernel[1] * in_channels)
    for first in range(0, len(x), chunk):
        count = min(chunk, len(x) - first)
        for k in range(count):
            geometry = (tuple(kernel), stride, padding, dilation)
            kernels.run(window_columns, height, maps[first + k], in_channels, *geometry, columns[k])
        windows = columns[:count].view(count * pixels, -1)
        upstream = upstream_rows[first * pixels : (first + count) * pixels].t()
        if windows.shape[1] < NARROW:
            dweight.addmm_(upstream, windows)
        else:
            dweight += matmul_transposed(upstream, windows.t())
    return dweight.view(out_channels, *kernel, in_channels).permute(0, 3, 1, 2)


def weight_gradient_by_taps(
    dy: Tensor, x: Tensor, shape: Sequence[int], stride: Any, padding: Any, dilation: Any
) -> Tensor:
    """Return dW (O, C, KH, KW), tap by tap, the samples shared out among the threads."""
    out_channels, in_channels, *kernel = shape
    lines = [-(-(size + 2 * a) // s) for size, a, s in zip(x.shape[2:], padding, stride, strict=True)]
    offsets = []
    for i in range(kernel[0]):
        down, phase = divmod(i * dilation[0], stride[0])
        for j in range(kernel[1]):
            along, side = divmod(j * dilation[1], stride[1])
            offsets.append(((phase * stride[1] + side) * lines[0] + down) * lines[1] + along)
    num_taps = len(offsets)
    offsets += offsets[-1:] * (-num_taps % 3)
    num_parts = min(torch.get_num_threads(), len(x))
    sums = x.new_zeros(num_parts, in_channels, -(-out_channels // 3) * 3, len(offsets))
    geometry = (np.array(offsets), tuple(stride), tuple(padding), tuple(lines))
    kernels.run(tap_products, num_parts, dy, x, *geometry, num_parts, sums)
    return sums.sum(0)[:, :out_channels, :num_taps].transpose(0, 1).reshape(tuple(shape))


def is_pointwise(x: Tensor, weight: Tensor, padding: Any, groups: int) -> bool:
    """Whether a convolution is one matrix product a sample: 1x1, unpadded, of a contiguous map on the CPU."""
    return (
        weight.shape[2:] == (1, 1)
        and groups == 1
        and tuple(padding) == (0, 0)
        and x.is_contiguous()
        and x.numel() > 0
        and is_plain(x, weight)
    )


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any) -> Tensor:
    """Return W x + b for every sample (C, pixels)."""
    x = x[:, :, :: stride[0], :: stride[1]]
    y = torch.matmul(weight.detach().flatten(1), x.detach().flatten(2))  # tracked ones would be copied
    y = y.view(len(x), -1, *x.shape[2:])
    return y if bias is None else y.add_(bias[:, None, None])


def pointwise_input_gradient(dy: Tensor, weight: Tensor, shape: Sequence[int], stride: Any) -> Tensor:
    """Return W^T dy, spread over the pixels that were read."""
    dx = torch.matmul(weight.detach().flatten(1).t(), dy.flatten(2)).view(len(dy), -1, *dy.shape[2:])
    if tuple(stride) == (1, 1):
        return dx
    spread = dx.new_zeros(tuple(shape))
    spread[:, :, :: stride[0], :: stride[1]] = dx
    return spread


def pointwise_weight_gradient(dy: Tensor, x: Tensor, stride: Any) -> Tensor:
    """Return sum_n dy_n x_n^T, (O, C, 1, 1)."""
    x = x[:, :, :: stride[0], :: stride[1]].flatten(2)
    dweight = x.new_zeros(dy.shape[1], x.shape[1])
    for upstream, sample in zip(dy.flatten(2), x, strict=True):
        dweight.addmm_(upstream, sample.t())
    return dweight[:, :, None, None]


SMALL_MAP = 256  # pixels below which sums are short, and a matrix product over several samples is faster
NARROW = 256  # columns below which torch's BLAS is the faster one
