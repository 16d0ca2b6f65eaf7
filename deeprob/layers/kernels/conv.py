"""The faster forms of the convolution's formulas in conv.py, each None where it does not fit.

y, dx   3x3 by tiles that take a quarter of the products (winograd.py)
        1x1 of a contiguous map by one matrix product a sample
dW      3x3 by tiles; 1x1 by matrix products; depthwise by loops (depthwise.py)
        other windows by a product with them, written out some hundred at a time (windows.py)
        of bfloat16 by one product with the windows of all pixels, written out as rows
        on a GPU by the formula's product, some samples at a time, where maps are large
        elsewhere by a convolution: x and dy with batch and channel swapped, and stride and dilation
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d as convolve
from torch.nn.functional import unfold

from .._function import is_plain
from .._window import Geometry
from . import winograd
from .depthwise import depthwise_padded_planes, depthwise_planes, depthwise_rows
from .loops import run
from .opaque import Operation, Result
from .windows import weight_gradient_by_windows


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor | None:
    """Return y (N, O, H', W')."""
    if is_pointwise(x, weight, geometry):
        return pointwise(x, weight, bias, geometry.stride)
    if winograd.suits(x, weight.shape, geometry):
        return winograd.convolution(x, weight, bias, geometry.padding)
    return None


def input_gradient(dy: Tensor, weight: Tensor, shape: Sequence[int], geometry: Geometry) -> Tensor | None:
    """Return dx (N, C, H, W)."""
    if is_pointwise(dy, weight, geometry):
        return pointwise_input_gradient(dy, weight, shape, geometry.stride)
    if winograd.suits(dy, weight.shape, geometry):
        return winograd.input_gradient(dy, weight, geometry.padding)
    return None


def weight_gradient(dy: Tensor, x: Tensor, shape: Sequence[int], geometry: Geometry) -> Tensor | None:
    """Return dW (O, C/G, KH, KW)."""
    if x.shape[0] == 0:
        return dy.new_zeros(shape)
    if winograd.suits_weight(dy, x, shape, geometry):
        return winograd.weight_gradient(dy, x, geometry.padding)
    if (dweight := weight_gradient_by_loops(dy, x, shape, geometry)) is not None:
        return dweight
    if x.is_cuda and (geometry.groups > 1 or math.prod(dy.shape[2:]) > 256):
        return product_with_windows(dy, x, shape, geometry)
    return swapped_convolution(dy, x, shape, geometry)


def outputs(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> list[Result]:
    """Describe y (N, O, H', W'), which lies as x does."""
    reach = [d * (k - 1) for d, k in zip(geometry.dilation, weight.shape[2:], strict=True)]
    windows = zip(x.shape[2:], geometry.stride, geometry.padding, reach, strict=True)
    shape = [x.shape[0], weight.shape[0], *((size + 2 * a - r - 1) // s + 1 for size, s, a, r in windows)]
    return [Result(shape, x)]


CONVOLUTION = Operation("convolution", outputs)
INPUT_GRADIENT = Operation("input_gradient", lambda dy, weight, shape, _: [Result(shape, dy)])
WEIGHT_GRADIENT = Operation("weight_gradient", lambda dy, x, shape, _: [Result(shape)])


def swapped_convolution(dy: Tensor, x: Tensor, shape: Sequence[int], geometry: Geometry) -> Tensor:
    """Return dW: the batch takes the place of the channels, and a map of dy that of the window.

    Few of a GPU's kernels are made for windows as large as a map.
    """
    stride, padding, dilation, groups = geometry
    num_samples, (_, per_group, *kernel) = x.shape[0], shape
    grouped_x = x.reshape(num_samples, groups, per_group, *x.shape[2:])
    swapped_x = grouped_x.permute(2, 1, 0, 3, 4).reshape(per_group, groups * num_samples, *x.shape[2:])
    dweight = convolve(swapped_x, dy.transpose(0, 1), None, dilation, padding, stride, groups)
    return dweight[:, :, : kernel[0], : kernel[1]].transpose(0, 1)


WINDOWS = 1 << 26  # numbers of all windows that are written out at a time: 256 MB of float32


def product_with_windows(dy: Tensor, x: Tensor, shape: Sequence[int], geometry: Geometry) -> Tensor:
    """Return dW as the formula does, some samples at a time."""
    stride, padding, dilation, groups = geometry
    entries = math.prod(shape[1:]) * groups * math.prod(dy.shape[2:])
    itself = math.prod(shape[2:]) == 1 and max(padding) == 0  # a window of one pixel is the pixel
    dweight = dy.new_zeros(())
    step = max(1, WINDOWS // entries)
    slid = tuple(shape[2:]), tuple(dilation), tuple(padding), tuple(stride)
    for n in range(0, len(x), step):
        some_dy, some_x = dy[n : n + step], x[n : n + step]
        pixels = some_x[:, :, :: stride[0], :: stride[1]]
        windows = pixels.flatten(2) if itself else unfold(some_x, *slid)
        windows = windows.reshape(len(windows), groups, -1, windows.shape[2])
        upstream = some_dy.reshape(len(windows), groups, -1, windows.shape[3])
        dweight = dweight + (upstream @ windows.mT).sum(0)
    return dweight.reshape(shape)


def weight_gradient_by_loops(
    dy: Tensor, x: Tensor, shape: Sequence[int], geometry: Geometry
) -> Tensor | None:
    """Return dW of plain arrays, by loops and matrix products."""
    if not dy.numel() or not x.numel():
        return None
    if dy.dtype == x.dtype == torch.bfloat16 and is_plain(dy, x, bfloat16=True):
        return bfloat16_weight_gradient(dy, x, shape, geometry)
    if not is_plain(dy, x):
        return None
    stride, padding, dilation, groups = geometry
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
    return weight_gradient_by_windows(dy, x, shape, stride, padding, dilation)


def bfloat16_weight_gradient(
    dy: Tensor, x: Tensor, shape: Sequence[int], geometry: Geometry
) -> Tensor | None:
    """Do the same for bfloat16, of which a processor may multiply twice as many: by oneDNN's products."""
    stride, padding, dilation, groups = geometry
    pointwise = tuple(shape[2:]) == (1, 1) and tuple(padding) == (0, 0)
    if groups == 1 and not pointwise:
        return weight_gradient_by_rows(dy, x, shape, stride, padding, dilation)
    if groups == 1 and not x.is_contiguous():
        rows = x.permute(0, 2, 3, 1)[:, :: stride[0], :: stride[1]].reshape(-1, x.shape[1])
        return (dy.permute(0, 2, 3, 1).reshape(-1, dy.shape[1]).t() @ rows)[:, :, None, None]
    if pointwise:
        x, stride = x[:, :, :: stride[0], :: stride[1]], (1, 1)
    wide = Geometry(stride, padding, dilation, groups)
    dweight = weight_gradient_by_loops(dy.float(), x.float(), shape, wide)
    return None if dweight is None else dweight.to(x.dtype)


def weight_gradient_by_rows(
    dy: Tensor,
    x: Tensor,
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
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


def is_pointwise(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Whether a convolution is one matrix product a sample: 1x1, unpadded, of a contiguous map on the CPU."""
    return (
        weight.shape[2:] == (1, 1)
        and geometry.groups == 1
        and tuple(geometry.padding) == (0, 0)
        and x.is_contiguous()
        and x.numel() > 0
        and is_plain(x, weight)
    )


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int]) -> Tensor:
    """Return W x + b for every sample (C, pixels)."""
    x = x[:, :, :: stride[0], :: stride[1]]
    y = torch.matmul(weight.detach().flatten(1), x.detach().flatten(2))  # tracked ones would be copied
    y = y.view(len(x), -1, *x.shape[2:])
    return y if bias is None else y.add_(bias[:, None, None])


def pointwise_input_gradient(
    dy: Tensor, weight: Tensor, shape: Sequence[int], stride: Sequence[int]
) -> Tensor:
    """Return W^T dy, spread over the pixels that were read."""
    dx = torch.matmul(weight.detach().flatten(1).t(), dy.flatten(2)).view(len(dy), -1, *dy.shape[2:])
    if tuple(stride) == (1, 1):
        return dx
    spread = dx.new_zeros(tuple(shape))
    spread[:, :, :: stride[0], :: stride[1]] = dx
    return spread


def pointwise_weight_gradient(dy: Tensor, x: Tensor, stride: Sequence[int]) -> Tensor:
    """Return sum_n dy_n x_n^T, (O, C, 1, 1)."""
    x = x[:, :, :: stride[0], :: stride[1]].flatten(2)
    dweight = x.new_zeros(dy.shape[1], x.shape[1])
    for upstream, sample in zip(dy.flatten(2), x, strict=True):
        dweight.addmm_(upstream, sample.t())
    return dweight[:, :, None, None]
