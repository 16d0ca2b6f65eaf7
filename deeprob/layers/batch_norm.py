"""Batch normalisation, over one axis of channels.

    y = w h + b,  h = (x - mu) r,  r = 1 / sqrt(var + eps)
    x (N, C, ...)   w, b (C)   mu, var (C): of the batch in training, running ones in evaluation
    m = entries a channel, mean and sum run over them

    dw = sum(dy h)
    db = sum(dy)
    dx = w r (dy - mean(dy) - h mean(dy h))     mu and var depend on every x: what they return is taken out
    dx = w r dy                                 in evaluation, where they are constants

Cost: forward two passes over x, backward two over x and dy; saves x, mu and r.
Source: Ioffe and Szegedy, Batch normalization (2015), section 3.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._function import Function, expect, expect_alike, may_overwrite


class BatchNormFunction(Function):
    """The normalisation above. Takes mu and r as found by `moments`; their gradients are part of dx."""

    autocast_dtype = "unchanged"

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        var: Tensor,
        eps: float,
        training: bool,
    ) -> Tensor:
        scale = (var + eps).rsqrt() if weight is None else (var + eps).rsqrt() * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        return (x * per_channel(scale, x) + per_channel(shift, x)).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, mean, var, ctx.eps, ctx.training = inputs
        ctx.bias_dtype = None if bias is None else bias.dtype
        ctx.save_for_backward(x, weight, mean, var)
        ctx.save_for_forward(x, weight, mean, var)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight, mean, var = ctx.saved_tensors
        if ctx.training and not may_overwrite(dy):
            mean, var = moments(x)  # as functions of x, so that the second derivative sees them
        rstd = (var + ctx.eps).rsqrt()
        h = (x - per_channel(mean, x)) * per_channel(rstd, x)
        dweight, dbias = over_batch(dy * h).sum(1), over_batch(dy).sum(1)
        dx = None
        if ctx.needs_input_grad[0]:
            centred = dy
            if ctx.training:
                m = x.numel() // x.shape[1]
                centred = dy - per_channel(dbias / m, x) - h * per_channel(dweight / m, x)
            scale = rstd if weight is None else rstd * weight
            dx = (centred * per_channel(scale, x)).to(x.dtype)
        need_weight, need_bias = ctx.needs_input_grad[1:3]
        return (
            dx,
            dweight.to(weight.dtype) if need_weight else None,
            dbias.to(ctx.bias_dtype) if need_bias else None,
            *[None] * 4,
        )

    @staticmethod
    def tangent(ctx: Any, x_dot: Any, weight_dot: Any, bias_dot: Any, *_: Any) -> Any:
        x, weight, mean, var = ctx.saved_tensors
        rstd = per_channel((var + ctx.eps).rsqrt(), x)
        h = (x - per_channel(mean, x)) * rstd
        y_dot = torch.zeros_like(x)
        if x_dot is not None:
            if ctx.training:
                x_dot = x_dot - per_channel(over_batch(x_dot).mean(1), x)
                x_dot = x_dot - h * per_channel(over_batch(x_dot * h).mean(1), x)
            y_dot = x_dot * rstd if weight is None else x_dot * rstd * per_channel(weight, x)
        y_dot = y_dot if weight_dot is None else y_dot + h * per_channel(weight_dot, x)
        return y_dot if bias_dot is None else y_dot + per_channel(bias_dot, x)


def per_channel(v: Tensor, x: Tensor) -> Tensor:
    """Shape v (C) to broadcast over x (N, C, ...)."""
    return v.reshape(-1, *[1] * (x.dim() - 2))


def over_batch(x: Tensor) -> Tensor:
    """View x (N, C, ...) as (C, m), in float32 at least."""
    x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    return x.transpose(0, 1).reshape(x.shape[1], -1)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance (C) of x (N, C, ...)."""
    var, mean = torch.var_mean(over_batch(x), 1, correction=0)
    return mean, var


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise x (N, C, ...) over all but its channels; training moves the running statistics by `momentum`.

    Raises ValueError where shapes, dtypes or devices do not fit, or one value a channel is left to normalise.
    """
    name = "batch_norm"
    expect(x.dim() >= 2, name, "x (N, C, ...)", x)
    for what, v in {"weight": weight, "bias": bias, "mean": running_mean, "var": running_var}.items():
        expect(v is None or v.shape == x.shape[1:2], name, f"{what} ({x.shape[1]},)", v)
    expect_alike(name, x=x)
    expect_alike(name, weight=weight, bias=bias, mean=running_mean, var=running_var)
    if training:
        m = x.numel() // max(1, x.shape[1])
        expect(m != 1, name, "more than one value per channel in training", x)
        with torch.no_grad():
            mean, var = moments(x)
            if running_mean is not None and running_var is not None and m > 0:
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((var * (m / (m - 1))).to(running_var.dtype), momentum)
    else:
        if running_mean is None or running_var is None:
            raise ValueError(f"{name}: expected running statistics outside training, got None")
        mean, var = running_mean, running_var
    y: Tensor = BatchNormFunction.apply(x, weight, bias, mean, var, eps, training)
    return y


class BatchNorm2d(nn.Module):
    """As torch.nn.BatchNorm2d, with the gradient above."""

    expected: tuple[str, tuple[int, ...]] = ("(N, C, H, W)", (4,))

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        self.register_buffer("running_mean", torch.zeros(num_features) if track_running_stats else None)
        self.register_buffer("running_var", torch.ones(num_features) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0) if track_running_stats else None)

    def forward(self, x: Tensor) -> Tensor:
        shape, dims = self.expected
        expect(x.dim() in dims, type(self).__name__, f"x {shape}", x)
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # the plain average over all batches so far
                momentum = 1.0 / float(self.num_batches_tracked)
        training = self.training or self.running_mean is None
        statistics = (self.running_mean, self.running_var)
        return batch_norm(x, *statistics, self.weight, self.bias, training, momentum or 0.0, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.weight is not None}, track_running_stats={self.running_mean is not None}"
        )


class BatchNorm1d(BatchNorm2d):
    """As torch.nn.BatchNorm1d, over x (N, C) or (N, C, L)."""

    expected = ("(N, C) or (N, C, L)", (2, 3))
