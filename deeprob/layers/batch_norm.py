"""Batch normalisation, over one axis of channels.

    y = w h + b,  h = (x - mu) r,  r = 1 / sqrt(var + eps)
    x (N, C, ...)   w, b (C)   mu, var (C): of the batch in training, running ones in evaluation
    m = entries a channel, mean and sum run over them

    dw = sum(dy h)
    db = sum(dy)
    dx = w r (dy - mean(dy) - h mean(dy h))     mu and var depend on every x: what they return is taken out
    dx = w r dy                                 in evaluation, where they are constants

Cost: forward two passes over x, backward two over x and dy; saves x, mu and var. Faster: kernels/channels.py.
Source: Ioffe and Szegedy, Batch normalization (2015), section 3.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect, expect_alike, may_overwrite, widened
from .kernels import channels as fast


class BatchNormFunction(Function):
    """The normalisation above. Takes mu and var as found by `moments`; their gradients are part of dx."""

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
        return normalise(x, weight, bias, mean, var, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, mean, var, ctx.eps, ctx.training = inputs
        ctx.bias_dtype = None if bias is None else bias.dtype
        ctx.save_for_backward(x, weight, mean, var)
        ctx.save_for_forward(x, weight, mean, var)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight, mean, var = ctx.saved_tensors
        dx, dweight, dbias = batch_norm_backward(dy, x, weight, mean, var, ctx.eps, ctx.training)
        need_x, need_weight, need_bias, *_ = ctx.needs_input_grad
        return (
            dx if need_x else None,
            dweight.to(weight.dtype) if need_weight else None,
            dbias.to(ctx.bias_dtype) if need_bias else None,
            *[None] * 4,
        )

    @staticmethod
    def tangent(ctx: Any, x_dot: Any, weight_dot: Any, bias_dot: Any, *_: Any) -> Any:
        x, weight, mean, var = ctx.saved_tensors
        dots = (x_dot, weight_dot, bias_dot)
        return batch_norm_tangent(dots, x, weight, mean, var, ctx.eps, ctx.training)


@or_faster(fast.moments)
def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mu and var (C), biased, of x (N, C, ...)."""
    var, mean = torch.var_mean(over_batch(x), 1, correction=0)
    return mean, var


@or_faster(fast.normalise)
def normalise(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, eps: float
) -> Tensor:
    """Return w h + b = (w r) x + (b - w r mu), one product and one sum an entry."""
    scale = (var + eps).rsqrt() if weight is None else (var + eps).rsqrt() * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return (widened(x) * per_channel(scale, x) + per_channel(shift, x)).to(x.dtype)


@or_faster(fast.batch_norm_backward)
def batch_norm_backward(
    dy: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, var: Tensor, eps: float, training: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx, dw and db."""
    if training and not may_overwrite(dy):
        mean, var = moments(x)  # as functions of x, so that the second derivative sees them
    rstd = (var + eps).rsqrt()
    dbias = over_batch(dy).sum(1)
    dweight = (over_batch(dy) * (over_batch(x) - mean[:, None])).sum(1) * rstd
    a = rstd if weight is None else rstd * weight
    if not training:
        return (dy * per_channel(a, x)).to(x.dtype), dweight, dbias
    # w r (dy - mean(dy) - h mean(dy h)), gathered into a dy + b x + c with one number a channel each
    m = max(1, x.numel() // max(1, x.shape[1]))
    b = -a * rstd * dweight / m
    c = -a * dbias / m - b * mean
    dx = dy * per_channel(a, x) + x * per_channel(b, x) + per_channel(c, x)
    return dx.to(x.dtype), dweight, dbias


def per_channel(v: Tensor, x: Tensor) -> Tensor:
    """Shape v (C) to broadcast over x (N, C, ...)."""
    return v.reshape(-1, *[1] * (x.dim() - 2))


def over_batch(x: Tensor) -> Tensor:
    """View x (N, C, ...) as (C, m), in float32 at least."""
    x = widened(x)
    return x.transpose(0, 1).reshape(x.shape[1], -1)


def batch_norm_tangent(
    dots: tuple[Any, Any, Any],
    x: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    var: Tensor,
    eps: float,
    training: bool,
) -> Tensor:
    """Push x_dot, w_dot and b_dot (or None) forward."""
    x_dot, weight_dot, bias_dot = dots
    rstd = per_channel((var + eps).rsqrt(), x)
    h = (x - per_channel(mean, x)) * rstd
    y_dot = torch.zeros_like(x)
    if x_dot is not None:
        if training:
            x_dot = x_dot - per_channel(over_batch(x_dot).mean(1), x)
            x_dot = x_dot - h * per_channel(over_batch(x_dot * h).mean(1), x)
        y_dot = x_dot * rstd if weight is None else x_dot * rstd * per_channel(weight, x)
    y_dot = y_dot if weight_dot is None else y_dot + h * per_channel(weight_dot, x)
    return y_dot if bias_dot is None else y_dot + per_channel(bias_dot, x)


def batch_norm(
    input: Tensor,
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
    check_batch_norm("batch_norm", input, running_mean, running_var, weight, bias)
    expect(eps > 0 or (eps == 0 and not training), "batch_norm", "eps above 0", eps)
    mean, var = statistics("batch_norm", input, running_mean, running_var, training, momentum)
    y: Tensor = BatchNormFunction.apply(input, weight, bias, mean, var, eps, training)
    return y


def check_batch_norm(
    name: str,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
) -> None:
    """Raise ValueError unless every vector has one entry a channel of x (N, C, ...)."""
    expect(x.dim() >= 2, name, "x (N, C, ...)", x)
    for what, v in (("weight", weight), ("bias", bias), ("mean", running_mean), ("var", running_var)):
        if v is not None and v.shape != x.shape[1:2]:
            expect(False, name, f"{what} ({x.shape[1]},)", v)
    expect_alike(name, x=x)
    expect_alike(name, weight=weight, bias=bias, mean=running_mean, var=running_var)


def statistics(
    name: str,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """Return the batch's mean and variance, moving the running ones towards them, or the running ones."""
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError(f"{name}: expected running statistics outside training, got None")
        return running_mean, running_var
    m = x.numel() // max(1, x.shape[1])
    expect(m != 1, name, "more than one value per channel in training", x)
    with torch.no_grad():
        if not m:  # of no entries there are none
            return x.new_ones(x.shape[1]), x.new_ones(x.shape[1])
        mean, var = moments(x)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * (m / (m - 1))).to(running_var.dtype), momentum)
    return mean, var


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """What batch norms share: which statistics a batch is normalised by, and which ones it moves."""

    expected: ClassVar[tuple[str, tuple[int, ...]]]
    functional: ClassVar[Callable[..., Tensor]] = staticmethod(batch_norm)

    def forward(self, input: Tensor) -> Tensor:
        shape, dims = self.expected
        expect(input.dim() in dims, type(self).__name__, f"x {shape}", input)
        running_mean, running_var, training, momentum = self.count_batch()
        vectors = (running_mean, running_var, self.weight, self.bias)
        return self.functional(input, *vectors, training, momentum, self.eps)

    def count_batch(self) -> tuple[Tensor | None, Tensor | None, bool, float]:
        """Count one more batch in training.

        Returns the running mean and variance, None if they are to stay as they are; whether the batch is
        normalised by its own ones; and how far it moves the running ones.
        """
        momentum = self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # the plain average over all batches so far
                momentum = 1.0 / float(self.num_batches_tracked)
        own = self.training or (self.running_mean is None and self.running_var is None)
        if self.training and not self.track_running_stats:
            return None, None, own, 0.0
        return self.running_mean, self.running_var, own, momentum or 0.0


class BatchNorm2d(BatchNorm, nn.BatchNorm2d):
    """As torch.nn.BatchNorm2d, with the gradient above."""

    expected = ("(N, C, H, W)", (4,))


class BatchNorm1d(BatchNorm, nn.BatchNorm1d):
    """As torch.nn.BatchNorm1d, over x (N, C) or (N, C, L), with the gradient above."""

    expected = ("(N, C) or (N, C, L)", (2, 3))
