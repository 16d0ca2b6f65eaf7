"""Multiclass support vector machine loss.

    z_c = margin - x_t + x_c
    loss_n = (1 / C) sum_{c != t} w_t max(0, z_c)^p        p is 1 or 2

    dx_c = dloss w_t / C h_c,  h_c = [z_c > 0] or 2 max(0, z_c)        for c != t
    dx_t = - sum_{c != t} dx_c

    x (N, C)   t (N) in 0 .. C-1   w (C)

A margin met exactly (z = 0) counts as met: no gradient, as in torch. Torch divides by C, the lecture not.
Cost: a few passes over x; saves x and t.
Source: Stanford CS231n, linear classification: multiclass SVM loss; Weston and Watkins (1999).
"""

from typing import Any

import torch
from torch import Tensor, nn

from .._function import Function, expect, expect_alike
from .cross_entropy import check_target


class MultiMarginLossFunction(Function):
    """Losses a sample. `scale` (N, 1) is w_t / C."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, target: Tensor, scale: Tensor, p: int, margin: float) -> Tensor:
        return (violations(x, target, margin) ** p * scale).sum(1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, target, scale, ctx.p, ctx.margin = inputs
        ctx.save_for_backward(x, target, scale)
        ctx.save_for_forward(x, target, scale)

    @staticmethod
    def backward(ctx: Any, dloss: Tensor) -> Any:
        x, target, scale = ctx.saved_tensors
        slope = loss_slope(violations(x, target, ctx.margin), ctx.p) * (dloss[:, None] * scale)
        return slope.scatter_add(1, target[:, None], -slope.sum(1, keepdim=True)), None, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        x, target, scale = ctx.saved_tensors
        slope = loss_slope(violations(x, target, ctx.margin), ctx.p) * scale
        return (slope * (x_dot - x_dot.gather(1, target[:, None]))).sum(1)


def violations(x: Tensor, target: Tensor, margin: float) -> Tensor:
    """Return max(0, z), zero at the target."""
    z = (x - x.gather(1, target[:, None]) + margin).clamp_min(0)
    return z.scatter(1, target[:, None], 0.0)


def loss_slope(z: Tensor, p: int) -> Tensor:
    """Return the derivative of max(0, z)^p."""
    return z.sign() if p == 1 else 2 * z


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the loss of scores x (N, C) or (C) for class indices target (N) or ().

    Raises ValueError where shapes or dtypes do not fit, or a target is no class.
    """
    x = input
    name = "multi_margin_loss"
    if x.dim() < 2:
        expect(
            x.numel() > 0 and target.numel() == 1,
            name,
            "x (N, C) or (C) of some classes, and their target",
            x,
        )
        loss = multi_margin_loss(x.reshape(1, -1), target.reshape(1), p, margin, weight, reduction)
        return loss.squeeze(0) if reduction == "none" else loss
    expect(x.dim() == 2, name, "x (N, C) or (C)", x)
    expect_alike(name, x=x)
    check_target(name, x, target)
    num_classes = x.shape[1]
    expect(weight is None or weight.shape == (num_classes,), name, f"weight ({num_classes},)", weight)
    expect(p in (1, 2), name, "p 1 or 2", p)
    expect(reduction in ("mean", "sum", "none"), name, 'reduction "mean", "sum" or "none"', repr(reduction))
    scale = x.new_ones(len(x), 1) if weight is None else weight[target][:, None]
    losses: Tensor = MultiMarginLossFunction.apply(x, target, scale / num_classes, p, margin)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / max(1, len(x))


class MultiMarginLoss(nn.MultiMarginLoss):
    """As torch.nn.MultiMarginLoss."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return multi_margin_loss(input, target, self.p, self.margin, self.weight, self.reduction)
