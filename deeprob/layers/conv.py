"""Two-dimensional convolution (cross-correlation), and in one dimension as a map of height one.

    y[n,o,p] = b[o] + sum_{c,k} W[o,c,k] x[n,c, s p + d k - a]      s stride, a padding, d dilation
    x (N, C, H, W)   W (O, C/G, KH, KW)   b (O)   y (N, O, H', W')   G groups; p, k two-dimensional

    dx = dy conv-transposed with W      every output sends its gradient back along the taps that read x
    dW[o,c,k] = sum_{n,p} dy[n,o,p] x[n,c, s p + d k - a]
              = x and dy with batch and channel swapped, convolved with stride and dilation swapped
    db = sum of dy over n and p

On the CPU 3x3 takes a quarter of the products (kernels/winograd.py), 1x1 is a matrix product a sample, and
other dW are a product with the windows, written out some hundred at a time (kernels/windows.py). A GPU takes
that product too where maps are large: the swapped convolution's window is a whole map, for which few kernels
are made.
Cost: forward 2 N O H' W' (C/G) KH KW FLOPs, backward twice that; saves x (W is a parameter).
Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning, section 4.
"""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import conv2d as convolve
from torch.nn.functional import conv_transpose2d as convolve_transposed
from torch.nn.functional import unfold

from ._function import Function, expect, expect_alike, is_multiplied_out
from ._module import takes_only
from ._window import Pair, pair, single
from .kernels import winograd
from .kernels.conv import fast_weight_gradient, is_pointwise, pointwise, pointwise_input_gradient
from .kernels.opaque import Result, is_traced, opaque


class Conv2dFunction(Function):
    """The convolution above."""

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Tensor:
        return convolution(x, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, *ctx.geometry = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias, *_ = ctx.needs_input_grad
        dx = input_gradient(dy, weight, x.shape, *ctx.geometry) if need_x else None
        dweight = weight_gradient(dy, x, weight.shape, *ctx.geometry) if need_weight else None
        dbias = dy.sum((0, 2, 3)) if need_bias else None
        return dx, dweight, dbias, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Any, weight_dot: Any, bias_dot: Any, *_: Any) -> Any:
        x, weight = ctx.saved_tensors
        y_dot: Any = 0 if x_dot is None else convolve(x_dot, weight, None, *ctx.geometry)
        y_dot = y_dot if weight_dot is None else y_dot + convolve(x, weight_dot, None, *ctx.geometry)
        return y_dot if bias_dot is None else y_dot + bias_dot[:, None, None]


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Return y (N, O, H', W'), by the form that suits its shapes."""
    if is_traced(x):
        return traced_convolution(x, weight, bias, stride, padding, dilation, groups)
    if is_pointwise(x, weight, padding, groups):
        return pointwise(x, weight, bias, stride)
    if winograd.suits(x, weight.shape, stride, padding, dilation, groups):
        return winograd.convolution(x, weight, bias, padding)
    return convolve(x, weight, bias, stride, padding, dilation, groups)


def input_gradient(
    dy: Tensor,
    weight: Tensor,
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Return dx of the given shape (N, C, H, W) from dy (N, O, H', W')."""
    if is_traced(dy):
        return traced_input_gradient(dy, weight, list(shape), stride, padding, dilation, groups)
    if is_pointwise(dy, weight, padding, groups):
        return pointwise_input_gradient(dy, weight, shape, stride)
    if winograd.suits(dy, weight.shape, stride, padding, dilation, groups):
        return winograd.input_gradient(dy, weight, padding)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    windows = zip(dy.shape[2:], stride, padding, reach, strict=True)
    read = [(o - 1) * s - 2 * a + r for o, s, a, r in windows]
    unread = [size - r for size, r in zip(shape[2:], read, strict=True)]  # last rows that no window reached
    return convolve_transposed(dy, weight, None, stride, padding, unread, groups, dilation)


def weight_gradient(
    dy: Tensor,
    x: Tensor,
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Return dW of the given shape (O, C/G, KH, KW): the batch takes the place of the channels."""
    if is_traced(x):
        return traced_weight_gradient(dy, x, list(shape), stride, padding, dilation, groups)
    num_samples, per_group, *kernel = x.shape[0], *shape[1:]
    if num_samples == 0:
        return dy.new_zeros(shape)
    if winograd.suits_weight(dy, x, shape, stride, padding, dilation, groups):
        return winograd.weight_gradient(dy, x, padding)
    if (fast := fast_weight_gradient(dy, x, shape, stride, padding, dilation, groups)) is not None:
        return fast
    if is_multiplied_out() or (x.is_cuda and (groups > 1 or math.prod(dy.shape[2:]) > 256)):
        return product_with_windows(dy, x, shape, stride, padding, dilation, groups)
    grouped_x = x.reshape(num_samples, groups, per_group, *x.shape[2:])
    swapped_x = grouped_x.permute(2, 1, 0, 3, 4).reshape(per_group, groups * num_samples, *x.shape[2:])
    dweight = convolve(swapped_x, dy.transpose(0, 1), None, dilation, padding, stride, groups)
    return dweight[:, :, : kernel[0], : kernel[1]].transpose(0, 1)


def output(
    x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> list[Result]:
    """Describe y (N, O, H', W'), which lies as x does."""
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    windows = zip(x.shape[2:], stride, padding, reach, strict=True)
    shape = [x.shape[0], weight.shape[0], *((size + 2 * a - r - 1) // s + 1 for size, s, a, r in windows)]
    return [Result(shape, x)]


traced_convolution = opaque("convolution", output)(convolution)
traced_input_gradient = opaque("input_gradient", lambda dy, w, shape, *_: [Result(shape, dy)])(input_gradient)
traced_weight_gradient = opaque("weight_gradient", lambda dy, x, shape, *_: [Result(shape)])(weight_gradient)

WINDOWS = 1 << 26  # numbers of all windows that are written out at a time: 256 MB of float32


def product_with_windows(
    dy: Tensor, x: Tensor, shape: Sequence[int], stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    """Return dW, a matrix product a sample and group: dy (O/G, L) with x's L windows, (L, C/G KH KW)."""
    entries = math.prod(shape[1:]) * groups * math.prod(dy.shape[2:])
    itself = math.prod(shape[2:]) == 1 and max(padding) == 0  # a window of one pixel is the pixel
    dweight: Any = 0
    step = max(1, WINDOWS // entries)
    for n in range(0, len(x), step):
        some_dy, some_x = dy[n : n + step], x[n : n + step]
        if itself:
            windows = some_x[:, :, :: stride[0], :: stride[1]].flatten(2)
        else:
            windows = unfold(some_x, tuple(shape[2:]), dilation, padding, stride)
        windows = windows.reshape(len(windows), groups, -1, windows.shape[2])
        upstream = some_dy.reshape(len(windows), groups, -1, windows.shape[3])
        dweight = dweight + (upstream @ windows.mT).sum(0)
    return dweight.reshape(shape)  # type: ignore[no-any-return]


class PadFunction(Function):
    """Zeros around a map; the gradient is what lies inside."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
        return nn.functional.pad(x, (left, right, top, bottom))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, *ctx.margins = inputs
        ctx.height, ctx.width = x.shape[-2:]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        left, _, top, _ = ctx.margins
        return dy[..., top : top + ctx.height, left : left + ctx.width], None, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        return nn.functional.pad(x_dot, tuple(ctx.margins))


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate x (N, C, H, W) or (C, H, W) with weight (O, C/groups, KH, KW); padding may be "same".

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    name = "conv2d"
    expect(weight.dim() == 4, name, "weight (O, C/groups, KH, KW)", weight)
    if x.dim() == 3:
        return conv2d(x[None], weight, bias, stride, padding, dilation, groups).squeeze(0)
    channels = weight.shape[1] * groups
    expect(
        x.dim() == 4 and x.shape[1] == channels,
        name,
        f"x (N, {channels}, H, W) for weight {tuple(weight.shape)} and groups={groups}",
        x,
    )
    expect(weight.shape[0] % groups == 0, name, f"weight ({groups} k, C/groups, KH, KW)", weight)
    expect(bias is None or bias.shape == weight.shape[:1], name, f"bias ({weight.shape[0]},)", bias)
    expect_alike(name, x=x, weight=weight, bias=bias)
    stride, dilation = pair(stride), pair(dilation)
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if padding == "same":
        expect(max(stride) == 1, name, 'stride 1 with padding="same"', stride)
        top, left = (r // 2 for r in reach)
        if any(r % 2 for r in reach):  # an even window: the odd zero goes last
            x = PadFunction.apply(x, left, reach[1] - left, top, reach[0] - top)
            top = left = 0
        padding = (top, left)
    elif isinstance(padding, str):
        expect(padding == "valid", name, 'padding "same", "valid" or numbers', repr(padding))
        padding = 0
    padding = pair(padding)
    smallest = [max(1, r + 1 - 2 * a) for r, a in zip(reach, padding, strict=True)]
    expect(
        all(size >= s for size, s in zip(x.shape[2:], smallest, strict=True)),
        name,
        f"a map of at least {smallest[0]}x{smallest[1]} for the window",
        f"{x.shape[2]}x{x.shape[3]}",
    )
    y: Tensor = Conv2dFunction.apply(x, weight, bias, stride, padding, dilation, groups)
    return y


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate x (N, C, L) or (C, L) with weight (O, C/groups, K): conv2d on maps of height one."""
    expect(weight.dim() == 3, "conv1d", "weight (O, C/groups, K)", weight)
    expect(x.dim() in (2, 3), "conv1d", "x (N, C, L) or (C, L)", x)
    step, reach = (1, single(stride)), (1, single(dilation))
    margin = padding if isinstance(padding, str) else (0, single(padding))
    return conv2d(x.unsqueeze(-2), weight.unsqueeze(-2), bias, step, margin, reach, groups).squeeze(-2)


@takes_only(padding_mode="zeros")
class Conv2d(nn.Conv2d):
    """As torch.nn.Conv2d with zero padding, with the gradient above."""

    def forward(self, x: Tensor) -> Tensor:
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return conv2d(x, self.weight, self.bias, *geometry)


@takes_only(padding_mode="zeros")
class Conv1d(nn.Conv1d):
    """As torch.nn.Conv1d with zero padding, with the gradient above."""

    def forward(self, x: Tensor) -> Tensor:
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return conv1d(x, self.weight, self.bias, *geometry)
