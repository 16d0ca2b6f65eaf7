"""Group normalisation: channels in G groups, each sample and group on its own.

    y = w h + b,  h = (x - mu) r,  r = 1 / sqrt(var + eps)      mu, var of a sample's group; w, b (C)
    x (N, C, ...), seen as (N, G, C/G, M) with M positions; means run over a group's channels and positions

    k = w dy
    dx = r (k - mean(k) - h mean(k h))
    dw = sum over samples and positions of dy h,  db = that of dy

Fast path: kernels/norm.py; of a compiled graph only for pixels, as the compiler makes good loops over planes.

Cost: as layer norm's; saves x. Source: Wu and He, Group normalization (2018).
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._function import Function, expect, expect_alike, is_plain
from .kernels import norm as loops
from .kernels.loops import run
from .kernels.opaque import Result, is_traced, laid_out, opaque
from .layer_norm import ones, zeros


class GroupNormFunction(Function):
    """The normalisation above, of x (N, C, ...)."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        layout = layout_of(x)
        if layout == "pixels" and is_traced(x, weight, bias):
            return traced_group_norm(x, groups, weight, bias, eps)
        if layout and is_plain(x, weight, bias):
            return group_norm_by_loop(x, groups, weight, bias, eps)
        mean, rstd = moments(grouped(x, groups), eps)
        slope = rstd if weight is None else rstd * grouped_channels(weight, groups)
        start = -mean * slope if bias is None else grouped_channels(bias, groups) - mean * slope
        return (slope * grouped(x, groups) + start).reshape(x.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.groups, weight, _, ctx.eps = inputs
        ctx.layout = layout_of(x)  # asked for here: for a backward that asks, the compiler makes planes of dy
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        need_x, _, need_weight, need_bias, _ = ctx.needs_input_grad
        if ctx.layout == "pixels" and is_traced(dy, x, weight):
            dx, (dweight, dbias) = traced_group_norm_backward(dy, x, ctx.groups, weight, ctx.eps)
        elif ctx.layout and is_plain(dy, x, weight):
            dx, (dweight, dbias) = group_norm_backward_by_loop(dy, x, ctx.groups, weight, ctx.eps)
        else:
            dx, dweight, dbias = gradients(dy, x, ctx.groups, weight, ctx.eps)
        return (
            dx if need_x else None,
            None,
            dweight if need_weight else None,
            dbias if need_bias else None,
            None,
        )

    @staticmethod
    def tangent(ctx: Any, x_dot: Any, _: Any, weight_dot: Any, bias_dot: Any, __: Any) -> Any:
        x, weight = ctx.saved_tensors
        mean, rstd = moments(grouped(x, ctx.groups), ctx.eps)
        h = rstd * (grouped(x, ctx.groups) - mean)
        y_dot = torch.zeros_like(h)
        if x_dot is not None:
            rows = grouped(x_dot, ctx.groups)
            means = (t.mean((2, 3), keepdim=True) for t in (rows, rows * h))
            y_dot = rstd * (rows - next(means) - h * next(means))
            y_dot = y_dot if weight is None else y_dot * grouped_channels(weight, ctx.groups)
        y_dot = y_dot if weight_dot is None else y_dot + h * grouped_channels(weight_dot, ctx.groups)
        y_dot = y_dot if bias_dot is None else y_dot + grouped_channels(bias_dot, ctx.groups)
        return y_dot.reshape(x.shape)


def gradients(
    upstream: Tensor, x: Tensor, groups: int, weight: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx, dw and db: two sums a channel, over positions, are all that they need of x and dy."""
    dy, rows = grouped(upstream, groups), grouped(x, groups)
    mean, rstd = moments(rows, eps)
    w = 1 if weight is None else grouped_channels(weight, groups)
    sum_dy, sum_dy_x = (t.sum(3, keepdim=True) for t in (dy, dy * rows))
    sum_dy_h = rstd * (sum_dy_x - mean * sum_dy)
    size = rows[0, 0].numel()
    mean_k, mean_k_h = ((w * t).sum(2, keepdim=True) / size for t in (sum_dy, sum_dy_h))
    dx = rstd * (w * dy - mean_k - (rows - mean) * (rstd * mean_k_h))
    return dx.reshape(x.shape), sum_dy_h.sum(0).flatten(), sum_dy.sum(0).flatten()


def moments(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return mu and r (N, G, 1, 1) of x (N, G, C/G, M)."""
    var, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    return mean, (var + eps).rsqrt()


def grouped(x: Tensor, groups: int) -> Tensor:
    """View x (N, C, ...) as (N, G, C/G, M)."""
    return x.reshape(len(x), groups, x.shape[1] // groups, -1)


def grouped_channels(weight: Tensor, groups: int) -> Tensor:
    """View weight (C) to broadcast over (N, G, C/G, M)."""
    return weight.reshape(groups, -1, 1)


def layout_of(x: Tensor) -> str | None:
    """Say whether x (N, C, ...) lies in "planes" or in "pixels", which the CPU's loops can run over."""
    if x.is_contiguous():
        return "planes"
    return "pixels" if x.movedim(1, -1).is_contiguous() else None


def group_norm_by_loop(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Return y, in the layout of x."""
    y, loop = torch.empty_like(x), loops.group_norm if x.is_contiguous() else loops.group_norm_rows
    run(loop, len(x), samples(x), groups, ones(weight, x, 1), zeros(bias, x, 1), eps, samples(y))
    return y


def group_norm_backward_by_loop(
    dy: Tensor, x: Tensor, groups: int, weight: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    """Return dx, in the layout of x, and dw and db side by side (2, C)."""
    dx, parts = torch.empty_like(x), x.new_empty(2, *x.shape[:2])
    loop = loops.group_norm_gradient if x.is_contiguous() else loops.group_norm_rows_gradient
    arrays = (samples(laid_out(dy, x)), samples(x), groups, ones(weight, x, 1), eps, samples(dx), parts)
    run(loop, len(x), *arrays)
    return dx, parts.sum(1)


def samples(x: Tensor) -> Tensor:
    """View planes as (N, C, M), pixels as (N, M, C)."""
    return x.view(*x.shape[:2], -1) if x.is_contiguous() else x.movedim(1, -1).flatten(1, -2)


traced_group_norm = opaque("group_norm", lambda x, *_: [Result(x.shape, x)])(group_norm_by_loop)
traced_group_norm_backward = opaque(
    "group_norm_backward", lambda dy, x, *_: [Result(x.shape, x), Result([2, x.shape[1]])]
)(group_norm_backward_by_loop)


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise x (N, C, ...) over each sample's groups of C/num_groups channels; weight and bias (C).

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    name = "group_norm"
    expect(x.dim() >= 2, name, "x (N, C, ...)", x)
    fits = num_groups > 0 and x.shape[1] % num_groups == 0
    expect(fits, name, f"channels divisible by num_groups={num_groups}", x.shape[1])
    expect(weight is None or weight.shape == x.shape[1:2], name, f"weight ({x.shape[1]},)", weight)
    expect(bias is None or bias.shape == x.shape[1:2], name, f"bias ({x.shape[1]},)", bias)
    expect_alike(name, x=x, weight=weight, bias=bias)
    if x.numel() == 0:
        return x
    y: Tensor = GroupNormFunction.apply(x, num_groups, weight, bias, eps)
    return y


class GroupNorm(nn.GroupNorm):
    """As torch.nn.GroupNorm."""

    def forward(self, x: Tensor) -> Tensor:
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
