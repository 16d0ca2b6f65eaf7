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

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .._function import Function, expect, expect_alike, is_plain, may_overwrite
from ..kernels import losses as loops
from ..kernels.loops import is_dense, run
from ._reduction import Reduction, expect_reduction, per_element, reduce


class MSEFunction(Function):
    """l = (x - t)^2."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
        if can_loop(x, target, reduction):
            return loop_over_blocks(loops.squared_errors, x, target, reduction)
        difference = x - target
        return reduce(difference.mul_(difference), reduction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, target, ctx.reduction = inputs
        ctx.save_for_backward(x, target)
        ctx.save_for_forward(x, target)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, target = ctx.saved_tensors
        need_target = ctx.needs_input_grad[1]
        if can_loop(x, target, ctx.reduction, dy):
            arrays = (x, target, ctx.reduction, dy, need_target)
            return *loop_over_entries(loops.squared_error_gradient, *arrays), None
        scale = 2 * per_element(dy, ctx.reduction, x.numel())
        difference = x - target
        dx = difference.mul_(scale) if may_overwrite(dy) else difference * scale
        return dx, -dx if need_target else None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, target_dot: Tensor, _: None) -> Any:
        x, target = ctx.saved_tensors
        return reduce(2 * (x - target) * (x_dot - target_dot), ctx.reduction)


class SmoothL1Function(Function):
    """l = c (d - c / 2) / beta."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, target: Tensor, reduction: Reduction, beta: float) -> Tensor:
        if beta > 0 and can_loop(x, target, reduction):
            return loop_over_blocks(loops.smooth_errors, x, target, reduction, beta)
        difference = x - target
        if beta == 0:
            return reduce(difference.abs_(), reduction)
        c = difference.clamp(-beta, beta)
        return reduce(difference.sub_(c, alpha=0.5).mul_(c), reduction) / beta

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, target, ctx.reduction, ctx.beta = inputs
        ctx.save_for_backward(x, target)
        ctx.save_for_forward(x, target)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, target = ctx.saved_tensors
        need_target = ctx.needs_input_grad[1]
        if ctx.beta > 0 and can_loop(x, target, ctx.reduction, dy):
            arrays = (x, target, ctx.reduction, dy, need_target, ctx.beta)
            return *loop_over_entries(loops.smooth_error_gradient, *arrays), None, None
        dx = smooth_l1_slope(x, target, ctx.beta, per_element(dy, ctx.reduction, x.numel()))
        return dx, -dx if need_target else None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, target_dot: Tensor, *_: None) -> Any:
        x, target = ctx.saved_tensors
        return reduce(smooth_l1_slope(x, target, ctx.beta, x_dot - target_dot), ctx.reduction)


def smooth_l1_slope(x: Tensor, target: Tensor, beta: float, dy: Tensor) -> Tensor:
    """Return dx = dy c / beta, or dy sign(d) where beta = 0."""
    difference = x - target
    dy = dy / beta if beta > 0 else dy
    if may_overwrite(dy):
        return (difference.clamp_(-beta, beta) if beta > 0 else difference.sign_()).mul_(dy)
    return (difference.clamp(-beta, beta) if beta > 0 else difference.sign()) * dy


def can_loop(x: Tensor, target: Tensor, reduction: Reduction, dy: Tensor | None = None) -> bool:
    """Whether the loss is one number and the CPU's loops can and should run over the entries."""
    return (
        reduction != "none"
        and x.numel() >= LOOP_FROM
        and is_plain(x, target, dy)
        and x.stride() == target.stride()
        and is_dense(x)
    )


def loop_over_blocks(
    loop: Callable[..., None], x: Tensor, target: Tensor, reduction: Reduction, *options: float
) -> Tensor:
    """Return the mean or the sum of the losses that `loop` sums a block."""
    count = x.numel()
    blocks = loops.count_blocks(count)
    sums = torch.empty(blocks)
    run(loop, blocks, x, target, *options, 1 / count if reduction == "mean" else 1.0, sums, flat=True)
    return sums.sum()


def loop_over_entries(
    loop: Callable[..., None],
    x: Tensor,
    target: Tensor,
    reduction: Reduction,
    dy: Tensor,
    need_target: bool,
    *options: float,
) -> tuple[Tensor, Tensor | None]:
    """Return dx and, if needed, dt = -dx, which `loop` writes in one pass."""
    count, dx = x.numel(), torch.empty_like(x)
    dtarget = torch.empty_like(x) if need_target else None
    share = 1 / count if reduction == "mean" else 1.0
    run(loop, count, x, target, *options, dy, share, dx, dtarget, grain=LOOP_FROM, flat=True)
    return dx, dtarget


LOOP_FROM = 1 << 12  # entries from which a loop pays for its call


def mse_loss(x: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Return the squared error of x (...) against target (...), reduced.

    Raises ValueError unless shapes, dtypes and devices are the same: nothing broadcasts.
    """
    _expect_pair("mse_loss", x, target, reduction)
    y: Tensor = MSEFunction.apply(x, target, reduction)
    return y


def smooth_l1_loss(x: Tensor, target: Tensor, reduction: Reduction = "mean", beta: float = 1.0) -> Tensor:
    """Return the smooth L1 distance of x (...) from target (...), quadratic below beta, reduced.

    Raises ValueError unless shapes, dtypes and devices are the same and beta >= 0: nothing broadcasts.
    """
    _expect_pair("smooth_l1_loss", x, target, reduction)
    expect(beta >= 0, "smooth_l1_loss", "beta of at least 0", beta)
    y: Tensor = SmoothL1Function.apply(x, target, reduction, beta)
    return y


def _expect_pair(layer: str, x: Tensor, target: Tensor, reduction: str) -> None:
    if x.shape != target.shape:
        expect(False, layer, f"target {tuple(x.shape)}", target)
    expect_alike(layer, x=x, target=target)
    expect_reduction(layer, reduction)


class MSELoss(nn.MSELoss):
    """As torch.nn.MSELoss."""

    reduction: Reduction

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return mse_loss(x, target, self.reduction)


class SmoothL1Loss(nn.SmoothL1Loss):
    """As torch.nn.SmoothL1Loss."""

    reduction: Reduction

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return smooth_l1_loss(x, target, self.reduction, self.beta)
