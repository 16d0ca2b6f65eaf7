"""Loops and matrix products for the convolution on the CPU; conv.py holds the formulas they equal.

pointwise   a 1x1 convolution of a contiguous map is one matrix product a sample
dW          by the loops of kernels_depthwise.py, or a product with the windows (kernels_windows.py)
            of bfloat16 by conv.py's swapped convolution, whose windows are cut into strips
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import kernels
from ._function import is_multiplied_out, is_plain
from .kernels_depthwise import depthwise_padded_planes, depthwise_planes, depthwise_rows
from .kernels_windows import weight_gradient_by_windows


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
    if is_multiplied_out():
        return None
    return weight_gradient_by_windows(dy, x, shape, stride, padding, dilation)


def bfloat16_weight_gradient(
    dy: Tensor, x: Tensor, shape: Sequence[int], stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor | None:
    """Do the same for bfloat16, of which a processor may multiply twice as many: by oneDNN's products."""
    pointwise = tuple(shape[2:]) == (1, 1) and tuple(padding) == (0, 0)
    if groups == 1 and not pointwise:
        return weight_gradient_by_strips(dy, x, shape, stride, padding, dilation)
    if groups == 1 and not x.is_contiguous():
        rows = x.permute(0, 2, 3, 1)[:, :: stride[0], :: stride[1]].reshape(-1, x.shape[1])
        return (dy.permute(0, 2, 3, 1).reshape(-1, dy.shape[1]).t() @ rows)[:, :, None, None]
    if pointwise:
        x, stride = x[:, :, :: stride[0], :: stride[1]], (1, 1)
    dweight = fast_weight_gradient(dy.float(), x.float(), shape, stride, padding, dilation, groups)
    return None if dweight is None else dweight.to(x.dtype)


STRIP, LINES = 128, 4  # places, or lines, of dy in a strip: oneDNN is slow with a large window


def weight_gradient_by_strips(
    dy: Tensor, x: Tensor, shape: Sequence[int], stride: Any, padding: Any, dilation: Any
) -> Tensor | None:
    """Return dW (O, C, KH, KW) by the swapped convolution, where every strip of some lines is a sample.

    None where there would be one strip.
    """
    (_, num_outputs, height, width), (_, channels, *kernel) = dy.shape, shape
    lines = max(r for r in range(1, max(LINES, STRIP // width) + 1) if height % r == 0)
    strips = height // lines
    if strips == 1:
        return None
    reach = (lines - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1
    x, dy = x.contiguous(), dy.contiguous()  # planes, of which a strip is cut without a stride
    x = torch.nn.functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    read = x.unfold(2, reach, lines * stride[0])[:, :, :strips].permute(1, 0, 2, 4, 3)
    read = read.reshape(channels, -1, reach, x.shape[3])
    upstream = dy.view(-1, num_outputs, strips, lines, width).transpose(0, 1)
    upstream = upstream.reshape(num_outputs, -1, lines, width)
    dweight = torch.nn.functional.conv2d(read, upstream, None, dilation, 0, stride)
    return dweight[..., : kernel[1]].transpose(0, 1)


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
