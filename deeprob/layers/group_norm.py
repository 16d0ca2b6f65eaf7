"""Group normalisation: channels in G groups, each sample and group on its own.

    y = w h + b,  h = (x - mu) r,  r = 1 / sqrt(var + eps)      mu, var of a sample's group; w, b (C)
    x (N, C, ...), seen as (N, G, C/G, M) with M positions; means run over a group's channels and positions

    k = w dy
    dx = r (k - mean(k) - h mean(k h))
    dw = sum over samples and positions of dy h,  db = that of dy

Cost: as layer norm's; saves x. Faster forms: kernels/group_norm.py.
Source: Wu and He, Group normalization (2018).
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect, expect_alike, narrowed, widened
from .kernels import group_norm as fast


class GroupNormFunction(Function):
    """The normalisation above, of x (N, C, ...)."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        return narrowed(normalise_groups(widened(x), groups, widened(weight), widened(bias), eps), x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.groups, weight, _, ctx.eps = inputs
        ctx.layout = fast.layout_of(x)  # a backward that asks makes the compiler lay dy out in planes
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        need_x, _, need_weight, need_bias, _ = ctx.needs_input_grad
        given = (widened(dy), widened(x), ctx.groups, widened(weight), ctx.eps, ctx.layout)
        dx, (dweight, dbias) = (narrowed(g, x) for g in group_norm_backward(*given))
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


@or_faster(fast.normalise_groups, fast.NORMALISE)
def normalise_groups(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Return w h + b = (w r) x + (b - w r mu)."""
    mean, rstd = moments(grouped(x, groups), eps)
    slope = rstd if weight is None else rstd * grouped_channels(weight, groups)
    start = -mean * slope if bias is None else grouped_channels(bias, groups) - mean * slope
    return (slope * grouped(x, groups) + start).reshape(x.shape)


@or_faster(fast.group_norm_backward, fast.BACKWARD)
def group_norm_backward(
    dy: Tensor, x: Tensor, groups: int, weight: Tensor | None, eps: float, layout: str | None
) -> tuple[Tensor, Tensor]:
    """Return dx, and dw and db side by side (2, C): two sums a channel are all that they need of x and dy.

    layout: x's, for the faster form.
    """
    upstream, rows = grouped(dy, groups), grouped(x, groups)
    mean, rstd = moments(rows, eps)
    w = 1 if weight is None else grouped_channels(weight, groups)
    sum_dy, sum_dy_x = (t.sum(3, keepdim=True) for t in (upstream, upstream * rows))
    sum_dy_h = rstd * (sum_dy_x - mean * sum_dy)
    size = rows[0, 0].numel()
    mean_k, mean_k_h = ((w * t).sum(2, keepdim=True) / size for t in (sum_dy, sum_dy_h))
    dx = rstd * (w * upstream - mean_k - (rows - mean) * (rstd * mean_k_h))
    return dx.reshape(x.shape), torch.stack([sum_dy_h.sum(0).flatten(), sum_dy.sum(0).flatten()])


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


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise x (N, C, ...) over each sample's groups of C/num_groups channels; weight and bias (C).

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    x = input
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

    def forward(self, input: Tensor) -> Tensor:
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
