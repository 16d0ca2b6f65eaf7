"""Transposed convolution: the adjoint of a convolution, as a layer.

    y[n,o,q] = b[o] + sum over c, p, k with q = s p + d k - a of W[c,o,k] x[n,c,p]
    x (N, C, H, W)   W (C, O/G, KH, KW)   b (O)   y (N, O, H', W')   s stride, a padding, d dilation, G groups

    dx = dy convolved with W            the adjoint of the adjoint is the convolution itself
    dW = as the convolution's, with x and dy in each other's place
    db = sum of dy over the batch and the map

Cost: forward 2 N C H W (O/G) KH KW FLOPs, backward twice that; saves x (W is a parameter).
Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning, section 4.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import conv2d as convolve
from torch.nn.functional import conv_transpose2d as convolve_transposed

from ._function import Function, expect, expect_alike
from ._window import Geometry, Pair, pair
from .conv import weight_gradient


class ConvTranspose2dFunction(Function):
    """The transposed convolution above."""

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Any,
        padding: Any,
        output_padding: Any,
        groups: int,
        dilation: Any,
    ) -> Tensor:
        return convolve_transposed(x, weight, bias, stride, padding, output_padding, groups, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, *ctx.geometry = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias, *_ = ctx.needs_input_grad
        stride, padding, output_padding, groups, dilation = ctx.geometry
        # dy may have room for windows beyond the last of x, where it was padded by a stride or more
        beyond = [o // s for o, s in zip(output_padding, stride, strict=True)]
        dx = dweight = None
        if need_x:
            dx = convolve(dy, weight, None, stride, padding, dilation, groups)
            dx = dx[..., : x.shape[2], : x.shape[3]] if any(beyond) else dx
        if need_weight:
            x = nn.functional.pad(x, (0, beyond[1], 0, beyond[0])) if any(beyond) else x
            dweight = weight_gradient(x, dy, weight.shape, Geometry(stride, padding, dilation, groups))
        dbias = dy.sum((0, 2, 3)) if need_bias else None
        return dx, dweight, dbias, None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Any, weight_dot: Any, bias_dot: Any, *_: Any) -> Any:
        x, weight = ctx.saved_tensors
        y_dot: Any = 0 if x_dot is None else convolve_transposed(x_dot, weight, None, *ctx.geometry)
        if weight_dot is not None:
            y_dot = y_dot + convolve_transposed(x, weight_dot, None, *ctx.geometry)
        return y_dot if bias_dot is None else y_dot + bias_dot[:, None, None]


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """Spread x (N, C, H, W) or (C, H, W) over weight (C, O/groups, KH, KW).

    It is the adjoint of conv2d with that weight.
    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    x = input
    name = "conv_transpose2d"
    expect(weight.dim() == 4, name, "weight (C, O/groups, KH, KW)", weight)
    if x.dim() == 3:
        return conv_transpose2d(
            x[None], weight, bias, stride, padding, output_padding, groups, dilation
        ).squeeze(0)
    expect(x.dim() == 4 and x.shape[1] == weight.shape[0], name, f"x (N, {weight.shape[0]}, H, W)", x)
    out_channels = weight.shape[1] * groups
    expect(bias is None or bias.shape == (out_channels,), name, f"bias ({out_channels},)", bias)
    expect_alike(name, x=x, weight=weight, bias=bias)
    stride, output_padding, dilation = pair(stride), pair(output_padding), pair(dilation)
    fits = all(o < max(s, d) for o, s, d in zip(output_padding, stride, dilation, strict=True))
    expect(fits, name, f"output_padding below stride {stride} or dilation {dilation}", output_padding)
    geometry = [stride, pair(padding), output_padding, groups, dilation]
    y: Tensor = ConvTranspose2dFunction.apply(x, weight, bias, *geometry)
    return y


class ConvTranspose2d(nn.ConvTranspose2d):
    """As torch.nn.ConvTranspose2d, with the gradient above."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        window: list[Any] = [self.stride, self.padding, self.kernel_size, 2, self.dilation]
        output_padding = self._output_padding(input, output_size, *window)
        geometry: list[Any] = [self.stride, self.padding, output_padding, self.groups, self.dilation]
        return conv_transpose2d(input, self.weight, self.bias, *geometry)
