"""Losses of a regression: mean squared error and smooth L1.

    d = x - t                       x, t (...) alike; y is the mean of l(d), its sum, or l(d) itself

    mse          l(d) = d^2                                    dl/dd = 2 d
    smooth L1    l(d) = d^2 / (2 beta) where |d| < beta,       dl/dd = c / beta
                        |d| - beta / 2 elsewhere
                      = c (d - c / 2) / beta,    c = clip(d, -beta, beta)

    dx = dy dl/dd,  dt = -dx        a mean over N elements gives each dy / N

Smooth L1 pulls with a force that grows with the error up to one, and no further: an outlier pulls no harder.
beta = 0 is |d|, its derivative the sign, with no gradient at d = 0 (as in torch).
Cost: one pass over the elements each way; saves x and t, which their makers keep anyway.
Source: Girshick 2015, Fast R-CNN, equation 3.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .._fast import or_faster
from .._function import Function, expect, expect_alike, may_overwrite
from ..kernels import element_losses as fast
from ._reduction import Reduction, expect_reduction, per_element, reduce


class MSEFunction(Function):
    """l = (x - t)^2."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
        return squared_error(x, target, reduction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, target, ctx.reduction = inputs
        ctx.save_for_backward(x, target)
        ctx.save_for_forward(x, target)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, target = ctx.saved_tensors
        return *squared_error_backward(dy, x, target, ctx.reduction, ctx.needs_input_grad[1]), None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, target_dot: Tensor, _: None) -> Any:
        x, target = ctx.saved_tensors
        return reduce(2 * (x - target) * (x_dot - target_dot), ctx.reduction)


@or_faster(fast.squared_error)
def squared_error(x: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    """Return (x - t)^2, reduced."""
    difference = x - target
    return reduce(difference.mul_(difference), reduction)


@or_faster(fast.squared_error_backward)
def squared_error_backward(
    dy: Tensor, x: Tensor, target: Tensor, reduction: Reduction, need_target: bool
) -> tuple[Tensor, Tensor | None]:
    """Return dx = 2 (x - t) dy and, if needed, dt = -dx."""
    scale = 2 * per_element(dy, reduction, x.numel())
    difference = x - target
    dx = difference.mul_(scale) if may_overwrite(dy) else difference * scale
    return dx, -dx if need_target else None


class SmoothL1Function(Function):
    """l = c (d - c / 2) / beta."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, target: Tensor, reduction: Reduction, beta: float) -> Tensor:
        return smooth_error(x, target, reduction, beta)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, target, ctx.reduction, ctx.beta = inputs
        ctx.save_for_backward(x, target)
        ctx.save_for_forward(x, target)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, target = ctx.saved_tensors
        options = (ctx.reduction, ctx.beta, ctx.needs_input_grad[1])
        return *smooth_error_backward(dy, x, target, *options), None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, target_dot: Tensor, *_: None) -> Any:
        x, target = ctx.saved_tensors
        return reduce(smooth_l1_slope(x, target, ctx.beta, x_dot - target_dot), ctx.reduction)


@or_faster(fast.smooth_error)
def smooth_error(x: Tensor, target: Tensor, reduction: Reduction, beta: float) -> Tensor:
    """Return c (d - c / 2) / beta, or |d| where beta = 0, reduced."""
    difference = x - target
    if beta == 0:
        return reduce(difference.abs_(), reduction)
    c = difference.clamp(-beta, beta)
    return reduce(difference.sub_(c, alpha=0.5).mul_(c), reduction) / beta


@or_faster(fast.smooth_error_backward)
def smooth_error_backward(
    dy: Tensor, x: Tensor, target: Tensor, reduction: Reduction, beta: float, need_target: bool
) -> tuple[Tensor, Tensor | None]:
    """Return dx and, if needed, dt = -dx."""
    dx = smooth_l1_slope(x, target, beta, per_element(dy, reduction, x.numel()))
    return dx, -dx if need_target else None


def smooth_l1_slope(x: Tensor, target: Tensor, beta: float, dy: Tensor) -> Tensor:
    """Return dx = dy c / beta, or dy sign(d) where beta = 0."""
    difference = x - target
    dy = dy / beta if beta > 0 else dy
    if may_overwrite(dy):
        return (difference.clamp_(-beta, beta) if beta > 0 else difference.sign_()).mul_(dy)
    return (difference.clamp(-beta, beta) if beta > 0 else difference.sign()) * dy


def mse_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Return the squared error of x (...) against target (...), reduced.

    Raises ValueError unless shapes, dtypes and devices are the same: nothing broadcasts.
    """
    _expect_pair("mse_loss", input, target, reduction)
    y: Tensor = MSEFunction.apply(input, target, reduction)
    return y


def smooth_l1_loss(input: Tensor, target: Tensor, reduction: Reduction = "mean", beta: float = 1.0) -> Tensor:
    """Return the smooth L1 distance of x (...) from target (...), quadratic below beta, reduced.

    Raises ValueError unless shapes, dtypes and devices are the same and beta >= 0: nothing broadcasts.
    """
    _expect_pair("smooth_l1_loss", input, target, reduction)
    expect(beta >= 0, "smooth_l1_loss", "beta of at least 0", beta)
    y: Tensor = SmoothL1Function.apply(input, target, reduction, beta)
    return y


def _expect_pair(layer: str, x: Tensor, target: Tensor, reduction: str) -> None:
    if x.shape != target.shape:
        expect(False, layer, f"target {tuple(x.shape)}", target)
    expect_alike(layer, x=x, target=target)
    expect_reduction(layer, reduction)


class MSELoss(nn.MSELoss):
    """As torch.nn.MSELoss."""

    reduction: Reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return mse_loss(input, target, self.reduction)


class SmoothL1Loss(nn.SmoothL1Loss):
    """As torch.nn.SmoothL1Loss."""

    reduction: Reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(input, target, self.reduction, self.beta)
