"""Loops and matrix products for the convolution on the CPU; conv.py holds the formulas they equal.

pointwise   a 1x1 convolution of a contiguous map is one matrix product a sample
dW          by the loops of depthwise.py, or a product with the windows (windows.py)
            of bfloat16 by one product with the windows of all pixels, written out as rows
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._function import is_multiplied_out, is_plain
from .depthwise import depthwise_padded_planes, depthwise_planes, depthwise_rows
from .loops import run
from .windows import weight_gradient_by_windows


def fast_weight_gradient(
    dy: Tensor, x: Tensor, shape: Sequence[int], stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor | None:
    """Return dW (O, C/G, KH, KW) by loops and matrix products; None where conv.py's formula is to be used."""
    if not dy.numel() or not x.numel():
        return None
    if dy.dtype == x.dtype == torch.bfloat16 and is_plain(dy, x, bfloat16=True) and not is_multiplied_out():
        return bfloat16_weight_gradient(dy, x, shape, stride, padding, dilation, groups)
    if not is_plain(dy, x):
        return None
    planes = x.is_contiguous()
    x_rows, dy_rows = x.permute(0, 2, 3, 1), dy.permute(0, 2, 3, 1)
    if groups > 1:
        if shape[1] != 1 or shape[0] != groups:
            return None
        if planes:
            dweight = x.new_zeros(shape[0], *shape[2:])
            if tuple(stride) == (1, 1):
                run(depthwise_padded_planes, shape[0], dy.contiguous(), x, padding, dilation, dweight)
            else:
                arrays = (dy.contiguous(), x, stride, padding, dilation, dweight)
                run(depthwise_planes, shape[0], *arrays)
            return dweight[:, None]
        shares = x.new_zeros(len(x), *shape[2:], shape[0])
        given = (dy_rows.contiguous(), x_rows.contiguous(), stride, padding, dilation, shares)
        run(depthwise_rows, len(x), *given)
        return shares.sum(0).permute(2, 0, 1)[:, None]
    out_channels, in_channels, *kernel = shape
    if kernel == [1, 1] and tuple(padding) == (0, 0):
        if planes and dy.is_contiguous():
            return pointwise_weight_gradient(dy, x, stride)
        rows = x_rows[:, :: stride[0], :: stride[1]].reshape(-1, in_channels)
        return (dy_rows.reshape(-1, out_channels).t() @ rows)[:, :, None, None]
    if is_multiplied_out():
        return None
    return weight_gradient_by_windows(dy, x, shape, stride, padding, dilation)


def bfloat16_weight_gradient(
    dy: Tensor, x: Tensor, shape: Sequence[int], stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor | None:
    """Do the same for bfloat16, of which a processor may multiply twice as many: by oneDNN's products."""
    pointwise = tuple(shape[2:]) == (1, 1) and tuple(padding) == (0, 0)
    if groups == 1 and not pointwise:
        return weight_gradient_by_rows(dy, x, shape, stride, padding, dilation)
    if groups == 1 and not x.is_contiguous():
        rows = x.permute(0, 2, 3, 1)[:, :: stride[0], :: stride[1]].reshape(-1, x.shape[1])
        return (dy.permute(0, 2, 3, 1).reshape(-1, dy.shape[1]).t() @ rows)[:, :, None, None]
    if pointwise:
        x, stride = x[:, :, :: stride[0], :: stride[1]], (1, 1)
    dweight = fast_weight_gradient(dy.float(), x.float(), shape, stride, padding, dilation, groups)
    return None if dweight is None else dweight.to(x.dtype)


def weight_gradient_by_rows(
    dy: Tensor, x: Tensor, shape: Sequence[int], stride: Any, padding: Any, dilation: Any
) -> Tensor:
    """Return dW (O, C, KH, KW) by one product of dy's pixels (O, P) with their windows (P, KH KW C)."""
    num_outputs, channels, *kernel = shape
    rows = x.permute(0, 2, 3, 1)
    rows = torch.nn.functional.pad(rows, (0, 0, padding[1], padding[1], padding[0], padding[0])).contiguous()
    of_sample, of_line, of_pixel, _ = rows.stride()
    windows = rows.as_strided(
        (len(x), *dy.shape[2:], *kernel, channels),
        (
            of_sample,
            of_line * stride[0],
            of_pixel * stride[1],
            of_line * dilation[0],
            of_pixel * dilation[1],
            1,
        ),
    ).reshape(-1, kernel[0] * kernel[1] * channels)
    upstream = dy.permute(0, 2, 3, 1).reshape(-1, num_outputs)
    return (upstream.t() @ windows).view(num_outputs, *kernel, channels).permute(0, 3, 1, 2)


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
