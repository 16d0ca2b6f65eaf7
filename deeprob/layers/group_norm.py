"""Group normalisation: channels in G groups, each sample and group on its own.

    y = w h + b,  h = (x - mu) r,  r = 1 / sqrt(var + eps)      mu, var of a sample's group; w, b (C)
    x (N, C, ...), seen as rows (N G, C/G ...); means run over a row

    k = w dy
    dx = r (k - mean(k) - h mean(k h))
    dw = sum over samples and positions of dy h,  db = that of dy

Cost: as layer norm's; saves x. Source: Wu and He, Group normalization (2018).
"""

from typing import Any

import torch
from torch import Tensor, nn

from . import kernels_norm as loops
from ._function import Function, expect, expect_alike, is_plain
from .channels import per_channel
from .kernels import run
from .layer_norm import ones, standardise, zeros


class GroupNormFunction(Function):
    """The normalisation above, of x (N, C, ...)."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        if is_plain(weight, bias) and (views := samples(x, y := torch.empty_like(x))) is not None:
            (source, target), planes = views
            loop = loops.group_norm if planes else loops.group_norm_rows
            run(loop, len(x), source, groups, ones(weight, x, 1), zeros(bias, x, 1), eps, target)
            return y
        h = standardise(x.reshape(len(x) * groups, -1), eps)[0].reshape(x.shape)
        h = h if weight is None else h * per_channel(weight, x)
        return h if bias is None else h + per_channel(bias, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.groups, weight, _, ctx.eps = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        need_x, _, need_weight, need_bias, _ = ctx.needs_input_grad
        if is_plain(weight) and (views := samples(dy, x, dx := torch.empty_like(x))) is not None:
            (upstream, source, target), planes = views
            parts = x.new_empty(2, *x.shape[:2])
            loop = loops.group_norm_gradient if planes else loops.group_norm_rows_gradient
            run(loop, len(x), upstream, source, ctx.groups, ones(weight, x, 1), ctx.eps, target, parts)
            dweight, dbias = parts.sum(1)
        else:
            h, rstd = standardise(x.reshape(len(x) * ctx.groups, -1), ctx.eps)
            k = (dy if weight is None else dy * per_channel(weight, x)).reshape(h.shape)
            dx = rstd * (k - k.mean(1, keepdim=True) - h * (k * h).mean(1, keepdim=True))
            dx = dx.reshape(x.shape)
            every = (0, *range(2, x.dim()))
            dweight, dbias = (dy * h.reshape(x.shape)).sum(every), dy.sum(every)
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
        h, rstd = standardise(x.reshape(len(x) * ctx.groups, -1), ctx.eps)
        y_dot = torch.zeros_like(x)
        if x_dot is not None:
            rows = x_dot.reshape(h.shape)
            rows = rstd * (rows - rows.mean(1, keepdim=True) - h * (rows * h).mean(1, keepdim=True))
            y_dot = rows.reshape(x.shape)
            y_dot = y_dot if weight is None else y_dot * per_channel(weight, x)
        y_dot = y_dot if weight_dot is None else y_dot + h.reshape(x.shape) * per_channel(weight_dot, x)
        return y_dot if bias_dot is None else y_dot + per_channel(bias_dot, x)


def samples(*tensors: Tensor) -> tuple[list[Tensor], bool] | None:
    """View all as planes (N, C, M) or all as rows (N, M, C), and say whether it is planes.

    None where the CPU's loops cannot run.
    """
    if not is_plain(*tensors):
        return None
    if all(t.is_contiguous() for t in tensors):
        return [t.view(*t.shape[:2], -1) for t in tensors], True
    innermost = [t.movedim(1, -1) for t in tensors]
    if all(t.is_contiguous() for t in innermost):
        return [t.view(len(t), -1, t.shape[-1]) for t in innermost], False
    return None


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


class GroupNorm(nn.Module):
    """As torch.nn.GroupNorm."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        fits = num_groups > 0 and num_channels % num_groups == 0
        expect(fits, "GroupNorm", f"num_channels divisible by num_groups={num_groups}", num_channels)
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = nn.Parameter(torch.ones(num_channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.weight is not None}"
