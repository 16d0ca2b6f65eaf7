"""Batch norm, rectifier and convolution, which keep one activation where their layers would keep two.

    y = W * max(0, w h + b),  h = (z - mu) r      keeps z

Batch norm keeps what it read, z, and the convolution what relu gave it. The latter is one product, sum and
comparison away from z: here the backward makes it again. The backward is that of the parts, in turn.
Cost: as the parts, and in the backward one more pass over z.
Source: Rota Bulo, Porzi and Kontschieder, In-place activated batch norm (2018), section 3.
"""

from typing import Any

from torch import Tensor
from torch.nn.functional import conv2d as convolve

from .._function import Function, expect, expect_alike, may_overwrite
from .._window import Geometry, Pair, pair
from ..batch_norm import batch_norm_tangent, check_batch_norm, moments, statistics
from ..conv import convolution, input_gradient, weight_gradient
from ._rectified_norm import coefficients, rectified, rectified_backward


class BatchNormReLUConv2dFunction(Function):
    """y = W * max(0, w h + b)."""

    @staticmethod
    def forward(
        z: Tensor,
        scale: Tensor,
        shift: Tensor,
        weight: Tensor,
        mean: Tensor,
        var: Tensor,
        eps: float,
        training: bool,
        stride: Any,
        padding: Any,
    ) -> Tensor:
        activation = rectified(z, *coefficients(scale, shift, mean, var, eps))
        return convolution(activation, weight, None, Geometry(stride, padding))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.eps, ctx.training, ctx.stride, ctx.padding = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        z, scale, shift, weight, mean, var = ctx.saved_tensors
        if ctx.training and not may_overwrite(dy):
            mean, var = moments(z)
        need_z, need_scale, need_shift, need_weight, *_ = ctx.needs_input_grad
        geometry = Geometry(ctx.stride, ctx.padding)
        activation = rectified(z, *coefficients(scale, shift, mean, var, ctx.eps))
        dweight = weight_gradient(dy, activation, weight.shape, geometry) if need_weight else None
        dz = dscale = dshift = None
        if need_z or need_scale or need_shift:
            da = input_gradient(dy, weight, z.shape, geometry)
            norm = (scale, shift, mean, var, ctx.eps, ctx.training)
            dz, dscale, dshift = rectified_backward(da, activation, z, *norm)
        return (
            dz if need_z else None,
            dscale if need_scale else None,
            dshift if need_shift else None,
            dweight,
            *[None] * 6,
        )

    @staticmethod
    def tangent(ctx: Any, z_dot: Any, scale_dot: Any, shift_dot: Any, weight_dot: Any, *_: Any) -> Any:
        z, scale, shift, weight, mean, var = ctx.saved_tensors
        activation = rectified(z, *coefficients(scale, shift, mean, var, ctx.eps))
        dots = (z_dot, scale_dot, shift_dot)
        a_dot = activation.sign() * batch_norm_tangent(dots, z, scale, mean, var, ctx.eps, ctx.training)
        y_dot = convolve(a_dot, weight, None, ctx.stride, ctx.padding)
        if weight_dot is not None:
            y_dot = y_dot + convolve(activation, weight_dot, None, ctx.stride, ctx.padding)
        return y_dot


def batch_norm_relu_conv2d(
    z: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    stride: Pair = 1,
    padding: Pair = 0,
) -> Tensor:
    """Return conv2d(relu(batch_norm(z))) of z (N, C, H, W); scale, shift (C), weight (O, C, KH, KW).

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    name = "batch_norm_relu_conv2d"
    expect(weight.dim() == 4, name, "weight (O, C, KH, KW)", weight)
    expect(z.dim() == 4 and z.shape[1] == weight.shape[1], name, f"z (N, {weight.shape[1]}, H, W)", z)
    check_batch_norm(name, z, running_mean, running_var, scale, shift)
    expect_alike(name, scale=scale, weight=weight)
    mean, var = statistics(name, z, running_mean, running_var, training, momentum)
    geometry = (pair(stride), pair(padding))
    y: Tensor = BatchNormReLUConv2dFunction.apply(
        z, scale, shift, weight, mean, var, eps, training, *geometry
    )
    return y
