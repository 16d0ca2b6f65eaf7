"""Two-dimensional convolution (cross-correlation), and in one dimension as a map of height one.

    y[n,o,p] = b[o] + sum_{c,k} W[o,c,k] x[n,c, s p + d k - a]      s stride, a padding, d dilation
    x (N, C, H, W)   W (O, C/G, KH, KW)   b (O)   y (N, O, H', W')   G groups; p, k two-dimensional

    dx[n,c,i] = sum_{o,k,p} W[o,c,k] dy[n,o,p]  where s p + d k - a = i     back along the taps that read x:
                                                                            a transposed convolution
    dW[o,c,k] = sum_{n,p} dy[n,o,p] x[n,c, s p + d k - a]                   dy times the windows of x
    db[o] = sum_{n,p} dy[n,o,p]

Cost: forward 2 N O H' W' (C/G) KH KW FLOPs, backward twice that; saves x (W is a parameter).
Faster forms: kernels/conv.py. Source: Dumoulin and Visin, A guide to convolution arithmetic, section 4.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d as convolve
from torch.nn.functional import conv_transpose2d as convolve_transposed
from torch.nn.functional import unfold

from ._fast import or_faster
from ._function import Function, expect, expect_alike
from ._module import takes_only
from ._pad import PadFunction
from ._window import Geometry, Pair, pair, single
from .kernels import conv as fast


class Conv2dFunction(Function):
    """The convolution above."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        return convolution(x, weight, bias, geometry)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, ctx.geometry = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias, _ = ctx.needs_input_grad
        dx = input_gradient(dy, weight, x.shape, ctx.geometry) if need_x else None
        dweight = weight_gradient(dy, x, weight.shape, ctx.geometry) if need_weight else None
        dbias = dy.sum((0, 2, 3)) if need_bias else None
        return dx, dweight, dbias, None

    @staticmethod
    def tangent(
        ctx: Any, x_dot: Tensor | None, weight_dot: Tensor | None, bias_dot: Tensor | None, _: None
    ) -> Any:
        x, weight = ctx.saved_tensors
        y_dot: Any = 0 if x_dot is None else convolve(x_dot, weight, None, *ctx.geometry)
        y_dot = y_dot if weight_dot is None else y_dot + convolve(x, weight_dot, None, *ctx.geometry)
        return y_dot if bias_dot is None else y_dot + bias_dot[:, None, None]


@or_faster(fast.convolution, fast.CONVOLUTION, products=True)
def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Return y (N, O, H', W')."""
    return convolve(x, weight, bias, *geometry)


@or_faster(fast.input_gradient, fast.INPUT_GRADIENT, products=True)
def input_gradient(dy: Tensor, weight: Tensor, shape: Sequence[int], geometry: Geometry) -> Tensor:
    """Return dx (N, C, H, W)."""
    stride, padding, dilation, groups = geometry
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    windows = zip(dy.shape[2:], stride, padding, reach, strict=True)
    read = [(o - 1) * s - 2 * a + r for o, s, a, r in windows]
    unread = [size - r for size, r in zip(shape[2:], read, strict=True)]  # last rows that no window reached
    return convolve_transposed(dy, weight, None, stride, padding, unread, groups, dilation)


@or_faster(fast.weight_gradient, fast.WEIGHT_GRADIENT, products=True)
def weight_gradient(dy: Tensor, x: Tensor, shape: Sequence[int], geometry: Geometry) -> Tensor:
    """Return dW (O, C/G, KH, KW): dy times the L = H' W' windows of x, a product a sample and group."""
    stride, padding, dilation, groups = geometry
    slid = tuple(dilation), tuple(padding), tuple(stride)
    windows = unfold(x, tuple(shape[2:]), *slid)  # (N, C KH KW, L)
    windows = torch.unflatten(windows, 1, (groups, -1))  # (N, G, C/G KH KW, L)
    upstream = torch.unflatten(dy.flatten(2), 1, (groups, -1))  # (N, G, O/G, L)
    return (upstream @ windows.mT).sum(0).reshape(shape)


def conv2d(
    input: Tensor,
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
    x = input
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
    expect(min(*stride, *dilation) > 0, name, "a positive stride and dilation", f"{stride} and {dilation}")
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
    y: Tensor = Conv2dFunction.apply(x, weight, bias, Geometry(stride, padding, dilation, groups))
    return y


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate x (N, C, L) or (C, L) with weight (O, C/groups, K): conv2d on maps of height one."""
    expect(weight.dim() == 3, "conv1d", "weight (O, C/groups, K)", weight)
    expect(input.dim() in (2, 3), "conv1d", "x (N, C, L) or (C, L)", input)
    step, reach = (1, single(stride)), (1, single(dilation))
    margin = padding if isinstance(padding, str) else (0, single(padding))
    return conv2d(input.unsqueeze(-2), weight.unsqueeze(-2), bias, step, margin, reach, groups).squeeze(-2)


@takes_only(padding_mode="zeros")
class Conv2d(nn.Conv2d):
    """As torch.nn.Conv2d with zero padding, with the gradient above."""

    def forward(self, input: Tensor) -> Tensor:
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return conv2d(input, self.weight, self.bias, *geometry)


@takes_only(padding_mode="zeros")
class Conv1d(nn.Conv1d):
    """As torch.nn.Conv1d with zero padding, with the gradient above."""

    def forward(self, input: Tensor) -> Tensor:
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return conv1d(input, self.weight, self.bias, *geometry)
