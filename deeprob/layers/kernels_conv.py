"""Loops and matrix products for the convolution on the CPU; conv.py holds the formulas they equal.

columns     writes every window of a map out as one column, so that dW is one matrix product (im2col)
depthwise   dW of one kernel a channel, where a matrix product would have one column
pointwise   a 1x1 convolution of a contiguous map is one matrix product a sample
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import kernels
from ._function import is_plain
from .kernels import ZERO
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


def split_phases(start: int, stop: int, x: Any, out: Any) -> None:
    """Set out[n, c, h, r, q] = x[n, c, h, s q + r], zero outside: a step of s = out.shape[3] becomes one."""
    step = out.shape[3]
    for n in range(start, stop):
        for c in range(out.shape[1]):
            for h in range(out.shape[2]):
                for r in range(step):
                    target, last = out[n, c, h, r], (x.shape[3] - r + step - 1) // step
                    for q in range(last):
                        target[q] = x[n, c, h, q * step + r]
                    target[last:] = ZERO


def plane_columns(
    start: int, stop: int, x: Any, width: int, kernel: Any, stride: Any, padding: Any, dilation: Any, out: Any
) -> None:
    """Set out[c, i, j, n, o, p] = x[n, c, s o + d i - a, s p + d j - a], zero outside; c from start to stop.

    x (N, C, H, s, W / s) is split into phases of the horizontal stride; `width` is that of the whole map.
    """
    height, step = x.shape[2], stride[1]
    for c in range(start, stop):
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                shift = j * dilation[1] - padding[1]
                offset, phase = shift // step, shift % step
                # the first and last window that read inside the map
                first = min(max(0, -offset), out.shape[5])
                last = max(first, min(out.shape[5], (width - shift + step - 1) // step))
                for k in range(out.shape[3] * out.shape[4]):
                    n, o = divmod(k, out.shape[4])
                    target = out[c, i, j, n, o]
                    row = o * stride[0] + i * dilation[0] - padding[0]
                    if row < 0 or row >= height or last <= first:
                        for p in range(target.size):
                            target[p] = ZERO
                        continue
                    for p in range(first):
                        target[p] = ZERO
                    for p in range(last, target.size):
                        target[p] = ZERO
                    inside, source = target[first:last], x[n, c, row, phase][first + offset :]
                    for p in range(inside.size):
                        inside[p] = source[p]


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
    if torch.get_num_threads() > 1:
        return None  # one sample after another keeps one core busy; the formula's convolution keeps them all
    height, width = dy.shape[2:]
    pixels = height * width
    if pixels >= SMALL_MAP and (planes or in_channels <= FEW):
        return weight_gradient_of_planes(dy, x, shape, stride, padding, dilation)
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


def weight_gradient_of_planes(
    dy: Tensor, x: Tensor, shape: Sequence[int], stride: Any, padding: Any, dilation: Any
) -> Tensor:
    """Return dW (O, C, KH, KW), the windows written out tap by tap: rows of pixels, not of channels."""
    out_channels, in_channels, *kernel = shape
    height, width = dy.shape[2:]
    step = stride[1]
    rows = dy.permute(0, 2, 3, 1).is_contiguous()  # then samples follow each other, and several go at a time
    chunk = min(len(x), max(1, ROWS // (height * width))) if rows else 1
    dweight = x.new_zeros(in_channels * kernel[0] * kernel[1], out_channels)
    columns = x.new_empty(in_channels * kernel[0] * kernel[1] * chunk * height * width)
    for first in range(0, len(x), chunk):
        samples, upstream = x[first : first + chunk], dy[first : first + chunk]
        if step == 1 and x.is_contiguous():
            phases = samples[:, :, :, None]
        else:
            phases = x.new_empty(*samples.shape[:3], step, -(-x.shape[3] // step))
            kernels.run(split_phases, len(samples), samples, phases)
        size = (in_channels, *kernel, len(samples), height, width)
        windows = columns[: math.prod(size)].view(size)
        geometry = (x.shape[3], tuple(kernel), stride, padding, dilation)
        kernels.run(plane_columns, in_channels, phases, *geometry, windows)
        pixels = (
            upstream.permute(0, 2, 3, 1).reshape(-1, out_channels) if rows else upstream[0].flatten(1).t()
        )
        dweight += matmul_transposed(windows.view(len(dweight), -1), pixels.t())  # its transpose is slower
    return dweight.t().reshape(tuple(shape))


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


FEW = 4  # input channels up to which rows of taps are too short to copy as one
ROWS = 4096  # rows of a matrix product that make it worth its call
SMALL_MAP = 256  # pixels below which samples are taken together, so that the matrix product is worth its call
NARROW = 256  # columns below which torch's BLAS is the faster one
