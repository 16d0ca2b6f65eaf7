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

from . import kernels
from ._function import Function, expect, expect_alike, is_plain, may_overwrite


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
        scale = (var + eps).rsqrt() if weight is None else (var + eps).rsqrt() * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        return affine(x, scale, shift)

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
        dbias, dot = sum_and_dot(dy, x, mean)
        dweight = dot * rstd
        dx = None
        if ctx.needs_input_grad[0]:
            # w r (dy - mean(dy) - h mean(dy h)), gathered into a dy + b x + c with one number a channel each
            a = rstd if weight is None else rstd * weight
            if ctx.training:
                m = x.numel() // max(1, x.shape[1])
                b = -a * rstd * dweight / max(1, m)
                dx = combine(dy, x, a, b, -a * dbias / max(1, m) - b * mean)
            else:
                dx = affine(dy, a, torch.zeros_like(a))
        return (
            dx,
            dweight.to(weight.dtype) if ctx.needs_input_grad[1] else None,
            dbias.to(ctx.bias_dtype) if ctx.needs_input_grad[2] else None,
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
    if (views := planes_or_rows(x)) is not None:
        ((v,), planes) = views
        count = x.numel() // x.shape[1]
        centre = v[0, :, 0].clone() if planes else v[0].clone()  # near the mean: squares lose no digits
        total, square = torch.zeros(2, x.shape[1], dtype=torch.float64)
        loop = kernels.plane_sums if planes else kernels.row_sums
        kernels.run(loop, x.shape[1], v, centre, total, square, grain=GRAIN)
        offset = total / count
        return (centre + offset).float(), (square / count - offset * offset).clamp_min_(0).float()
    var, mean = torch.var_mean(over_batch(x), 1, correction=0)
    return mean, var


def sum_and_dot(dy: Tensor, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return sum(dy) and sum(dy (x - mu)), each (C)."""
    if (views := planes_or_rows(dy, x)) is not None:
        arrays, planes = views
        total, dot = torch.zeros(2, x.shape[1], dtype=torch.float64)
        loop = kernels.plane_dots if planes else kernels.row_dots
        kernels.run(loop, x.shape[1], *arrays, mean, total, dot, grain=GRAIN)
        return total.float(), dot.float()
    rows = over_batch(dy)
    return rows.sum(1), (rows * (over_batch(x) - mean[:, None])).sum(1)


def affine(x: Tensor, a: Tensor, c: Tensor) -> Tensor:
    """Return a x + c, one number a channel each, in x's dtype."""
    if is_plain(a, c) and (views := planes_or_rows(x, y := torch.empty_like(x))) is not None:
        (source, target), planes = views
        loop = kernels.plane_affine if planes else kernels.row_affine
        kernels.run(loop, num_rows(source, planes), source, a, c, target)
        return y
    return (x * per_channel(a, x) + per_channel(c, x)).to(x.dtype)


def combine(dy: Tensor, x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return a dy + b x + c, one number a channel each, in x's dtype."""
    if (views := planes_or_rows(dy, x, dx := torch.empty_like(x))) is not None:
        (upstream, source, target), planes = views
        loop = kernels.plane_combine if planes else kernels.row_combine
        kernels.run(loop, num_rows(source, planes), upstream, source, a, b, c, target)
        return dx
    return (dy * per_channel(a, x) + x * per_channel(b, x) + per_channel(c, x)).to(x.dtype)


def planes_or_rows(*tensors: Tensor) -> tuple[list[Tensor], bool] | None:
    """View all as planes (N, C, M) or all as rows (N M, C), and say whether it is planes.

    None where the CPU's loops cannot or need not run.
    """
    x = tensors[0]
    if x.numel() < LOOP_FROM or not is_plain(*tensors):
        return None
    if x.dim() > 2 and all(t.is_contiguous() for t in tensors):
        return [t.view(*t.shape[:2], -1) for t in tensors], True
    innermost = [t.movedim(1, -1) for t in tensors]
    if all(t.is_contiguous() for t in innermost):
        return [t.view(-1, x.shape[1]) for t in innermost], False
    return None


def num_rows(view: Tensor, planes: bool) -> int:
    """Return what affine and combine loop over: planes, or rows."""
    return view.shape[0] * view.shape[1] if planes else view.shape[0]


LOOP_FROM = 1 << 12  # entries from which a loop pays for its call
GRAIN = 16  # channels a thread: one cache line of float32


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
            mean, var = moments(x) if m else x.new_ones(2, x.shape[1])  # of no entries there are none
            if running_mean is not None and running_var is not None and m:
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
