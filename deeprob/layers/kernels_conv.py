"""Loops and matrix products for the convolution on the CPU; conv.py holds the formulas they equal.

columns     writes every window of a map out as one row, so that dW is one matrix product (im2col)
pointwise   a 1x1 convolution of a contiguous map is one matrix product a sample
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import kernels
from ._function import is_plain
from .kernels import ZERO
from .kernels_depthwise import depthwise_padded_planes, depthwise_planes, depthwise_rows
from .kernels_taps import MANY, weight_gradient_by_taps
from .linear import ONEDNN, matmul_transposed


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
    if math.prod(dy.shape[2:]) >= SMALL_MAP and (planes or min(out_channels, in_channels) < MANY):
        return weight_gradient_by_taps(dy, x, shape, stride, padding, dilation)
    return weight_gradient_by_columns(dy, x, shape, stride, padding, dilation)


def weight_gradient_by_columns(
    dy: Tensor, x: Tensor, shape: Sequence[int], stride: Any, padding: Any, dilation: Any
) -> Tensor:
    """Return dW (O, C, KH, KW), a product of dy with the windows, some SMALL_MAP of them at a time."""
    out_channels, in_channels, *kernel = shape
    height, width = dy.shape[2:]
    lines = min(height, -(-SMALL_MAP // width))
    count = -(-SMALL_MAP // (lines * width))  # samples at a time
    dweight = x.new_zeros(out_channels, kernel[0] * kernel[1] * in_channels)
    columns = x.new_empty(count, lines, width, kernel[0], kernel[1] * in_channels)
    for first in range(0, len(x), count):
        maps = x[first : first + count].permute(0, 2, 3, 1).flatten(2).contiguous()
        upstream = dy[first : first + count].permute(0, 2, 3, 1)
        for top in range(0, height, lines):
            some = upstream[:, top : top + lines]
            above = (padding[0] - top * stride[0], padding[1])
            for one, windows in zip(maps, columns, strict=False):
                geometry = (tuple(kernel), stride, above, dilation)
                kernels.run(window_columns, some.shape[1], one, in_channels, *geometry, windows)
            windows = columns[: len(maps), : some.shape[1]].reshape(-1, dweight.shape[1])
            rows = some.reshape(len(windows), out_channels).t()
            if ONEDNN is None or windows.shape[1] < NARROW:
                dweight.addmm_(rows, windows)
            else:
                dweight += matmul_transposed(rows, windows.t())
    return dweight.view(out_channels, *kernel, in_channels).permute(0, 3, 1, 2)


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
