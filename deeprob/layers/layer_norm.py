"""Normalisation of each row: layer norm and root-mean-square norm.

    layer_norm   y = w h + b,  h = (x - mu) r,  r = 1 / sqrt(var + eps)      mu, var of the row
                 dx = r (k - mean(k) - h mean(k h)),  k = w dy
    rms_norm     y = w h,      h = x r,         r = 1 / sqrt(mean(x^2) + eps)
                 dx = r (k - h mean(k h)),        k = w dy

    dw = sum over rows of dy h,  db = sum over rows of dy
    x (..., D), a row is its last axes of shape w; means run over the row

Half precision is widened to float32 inside, as by torch: a mean of bfloat16 would be off by 1 in 256.
Cost: two passes over x forward, two over x and dy backward; saves x. Faster forms: kernels/layer_norm.py.
Source: Ba, Kiros and Hinton, Layer normalization (2016); Zhang and Sennrich, RMSNorm (2019).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect, expect_alike, narrowed, widened
from .kernels import layer_norm as fast


class LayerNormFunction(Function):
    """Layer norm of x (..., D) along its last axis."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        return narrowed(normalise_rows(widened(x), widened(weight), widened(bias), eps), x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, ctx.eps = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        gradients = layer_norm_backward(widened(dy), widened(x), widened(weight), ctx.eps)
        dx, dweight, dbias = (narrowed(g, x) for g in gradients)
        need_x, need_weight, need_bias, _ = ctx.needs_input_grad
        return dx if need_x else None, dweight if need_weight else None, dbias if need_bias else None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Any, weight_dot: Any, bias_dot: Any, _: Any) -> Any:
        x, weight = ctx.saved_tensors
        h, rstd = standardise(widened(x), ctx.eps)
        y_dot = torch.zeros_like(h)
        if x_dot is not None:
            y_dot = rstd * (x_dot - x_dot.mean(-1, keepdim=True) - h * (x_dot * h).mean(-1, keepdim=True))
            y_dot = y_dot if weight is None else y_dot * weight
        y_dot = y_dot if weight_dot is None else y_dot + h * weight_dot
        return (y_dot if bias_dot is None else y_dot + bias_dot).to(x.dtype)


@or_faster(fast.normalise_rows)
def normalise_rows(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Return w h + b for x (..., D)."""
    h, _ = standardise(x, eps)
    h = h if weight is None else h * weight
    return h if bias is None else h + bias


@or_faster(fast.layer_norm_backward)
def layer_norm_backward(
    dy: Tensor, x: Tensor, weight: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx, dw and db for x (..., D)."""
    h, rstd = standardise(x, eps)
    k = dy if weight is None else dy * weight
    dx = rstd * (k - k.mean(-1, keepdim=True) - h * (k * h).mean(-1, keepdim=True))
    return dx, as_rows(dy * h).sum(0), as_rows(dy).sum(0)


def standardise(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return h = (x - mu) r and r (..., 1) of x (..., D)."""
    centred = x - x.mean(-1, keepdim=True)
    rstd = ((centred * centred).mean(-1, keepdim=True) + eps).rsqrt()
    return centred * rstd, rstd


def as_rows(x: Tensor) -> Tensor:
    """View x (..., D) as (R, D)."""
    return x if x.dim() == 2 else x.reshape(-1, x.shape[-1])


class RMSNormFunction(Function):
    """Root-mean-square norm of x (..., D) along its last axis."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
        return narrowed(scale_rows(widened(x), widened(weight), eps), x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, ctx.eps = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        gradients = rms_norm_backward(widened(dy), widened(x), widened(weight), ctx.eps)
        dx, dweight = (narrowed(g, x) for g in gradients)
        need_x, need_weight, _ = ctx.needs_input_grad
        return dx if need_x else None, dweight if need_weight else None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Any, weight_dot: Any, _: Any) -> Any:
        saved, weight = ctx.saved_tensors
        x = widened(saved)
        rstd = inverse_rms(x, ctx.eps)
        h = x * rstd
        y_dot = torch.zeros_like(x)
        if x_dot is not None:
            y_dot = rstd * (x_dot - h * (x_dot * h).mean(-1, keepdim=True))
            y_dot = y_dot if weight is None else y_dot * weight
        return (y_dot if weight_dot is None else y_dot + h * weight_dot).to(saved.dtype)


@or_faster(fast.scale_rows)
def scale_rows(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """Return w h for x (..., D)."""
    h = x * inverse_rms(x, eps)
    return h if weight is None else h * weight


@or_faster(fast.rms_norm_backward)
def rms_norm_backward(dy: Tensor, x: Tensor, weight: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    """Return dx and dw for x (..., D)."""
    rstd = inverse_rms(x, eps)
    h = x * rstd
    k = dy if weight is None else dy * weight
    dx = rstd * (k - h * (k * h).mean(-1, keepdim=True))
    return dx, as_rows(dy * h).sum(0)


def inverse_rms(x: Tensor, eps: float) -> Tensor:
    """Return r = 1 / sqrt(mean(x^2) + eps), (..., 1), of x (..., D)."""
    return ((x * x).mean(-1, keepdim=True) + eps).rsqrt()


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise x (..., *normalized_shape) over its last axes; weight and bias have normalized_shape.

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    x = input
    size = last_axes("layer_norm", x, normalized_shape, weight, bias)
    if size == 1:
        y: Tensor = LayerNormFunction.apply(x, weight, bias, eps)
        return y
    flat = [None if v is None else v.flatten() for v in (weight, bias)]
    y = LayerNormFunction.apply(x.flatten(-size), *flat, eps)
    return y.reshape(x.shape)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Scale x (..., *normalized_shape) to root mean square one over its last axes; eps None is the dtype's.

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    x = input
    size = last_axes("rms_norm", x, normalized_shape, weight, None)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    if size == 1:
        y: Tensor = RMSNormFunction.apply(x, weight, eps)
        return y
    y = RMSNormFunction.apply(x.flatten(-size), None if weight is None else weight.flatten(), eps)
    return y.reshape(x.shape)


def last_axes(
    name: str, x: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None
) -> int:
    """Return how many of the last axes are normalised over, having checked the shapes."""
    shape = tuple(normalized_shape)
    if len(shape) == 0 or x.shape[-len(shape) :] != shape:
        expect(False, name, f"x (..., {', '.join(map(str, shape))})", x)
    expect(weight is None or weight.shape == shape, name, f"weight {shape}", weight)
    expect(bias is None or bias.shape == shape, name, f"bias {shape}", bias)
    expect_alike(name, x=x, weight=weight, bias=bias)
    return len(shape)


class LayerNorm(nn.LayerNorm):
    """As torch.nn.LayerNorm."""

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(nn.RMSNorm):
    """As torch.nn.RMSNorm."""

    def forward(self, input: Tensor) -> Tensor:
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)
