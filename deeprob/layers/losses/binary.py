"""Losses of yes-or-no questions, one for each logit: binary cross-entropy and focal loss.

    x logits   t targets   y the mean of l, its sum, or l      p = sigmoid(x),  softplus(x) = ln(1 + e^x)

    binary cross-entropy, positives weighing w (pos_weight):
        l = (1 - t) x + s softplus(-x),   s = 1 + (w - 1) t
        dl/dx = s p - w t                 without weights p - t: what was said less what is true
        dl/dt = (w - 1) softplus(-x) - x

    focal, t = 0 or 1, in the signed logit u = (2 t - 1) x and the doubt q = sigmoid(-u) = 1 - p_t:
        l = a q^g softplus(-u),           a = alpha where t = 1, 1 - alpha where t = 0
        dl/dx = (1 - alpha - t) q^g (q + g (1 - q) softplus(-u))
        q^g makes what is already certain cheap, so that many easy negatives do not drown the rest

    dx = dy dl/dx                         a mean over N elements gives each dy / N

Cost: one exponential and one logarithm an element each way; saves x and t.
Faster forms, for the unweighted mean or sum and g = 2: kernels/element_losses.py.
Source: Lin et al. 2017, Focal loss for dense object detection, equation 5 and appendix B.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from .._fast import or_faster
from .._function import Function, expect, expect_alike, may_overwrite
from .._values import may_read
from ..kernels import element_losses as fast
from ._reduction import Reduction, expect_reduction, expect_weight, per_element, reduce


class BinaryCrossEntropyFunction(Function):
    """l = ((1 - t) x + s softplus(-x)) weight. weight and pos_weight are constants."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(
        x: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, reduction: Reduction
    ) -> Tensor:
        return binary_cross_entropy(x, target, weight, pos_weight, reduction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.reduction = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, target, weight, pos_weight = ctx.saved_tensors
        needs = ctx.needs_input_grad[:2]
        found = binary_cross_entropy_backward(dy, x, target, weight, pos_weight, ctx.reduction, needs)
        return *found, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, target_dot: Tensor, *_: Any) -> Any:
        x, target, weight, pos_weight = ctx.saved_tensors
        loss_dot = slope_in_logit(x, target, pos_weight) * x_dot + slope_in_target(x, pos_weight) * target_dot
        return reduce(loss_dot if weight is None else loss_dot * weight, ctx.reduction)


@or_faster(fast.binary_cross_entropy)
def binary_cross_entropy(
    x: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, reduction: Reduction
) -> Tensor:
    """Return ((1 - t) x + s softplus(-x)) weight, reduced."""
    log_p = logsigmoid(x)  # -softplus(-x)
    if pos_weight is not None:
        log_p = log_p * (1 + (pos_weight - 1) * target)
    loss = (1 - target).mul_(x).sub_(log_p)
    return reduce(loss if weight is None else loss * weight, reduction)


@or_faster(fast.binary_cross_entropy_backward)
def binary_cross_entropy_backward(
    dy: Tensor,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    reduction: Reduction,
    needs: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Return dx and dt, where needed."""
    scale = per_element(dy, reduction, x.numel())
    scale = scale if weight is None else scale * weight
    dx = dtarget = None
    if needs[0]:
        slope = slope_in_logit(x, target, pos_weight)
        dx = slope.mul_(scale) if may_overwrite(dy) else slope * scale
    if needs[1]:
        dtarget = slope_in_target(x, pos_weight) * scale
    return dx, dtarget


def slope_in_logit(x: Tensor, target: Tensor, pos_weight: Tensor | None) -> Tensor:
    """dl/dx = s p - w t."""
    p = x.sigmoid()
    if pos_weight is None:
        return p.sub_(target) if may_overwrite(x) else p - target
    return p * (1 + (pos_weight - 1) * target) - pos_weight * target


def slope_in_target(x: Tensor, pos_weight: Tensor | None) -> Tensor:
    """dl/dt = (w - 1) softplus(-x) - x."""
    return -x if pos_weight is None else (1 - pos_weight) * logsigmoid(x) - x


class FocalFunction(Function):
    """l = a q^g softplus(-u) weight. The targets, 0 or 1, and weights are constants; alpha None: a = 1."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(
        x: Tensor,
        target: Tensor,
        weight: Tensor | None,
        alpha: float | None,
        gamma: float,
        reduction: Reduction,
    ) -> Tensor:
        return focal_loss(x, target, weight, alpha, gamma, reduction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.alpha, ctx.gamma, ctx.reduction = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, target, weight = ctx.saved_tensors
        dx = focal_loss_backward(dy, x, target, weight, ctx.alpha, ctx.gamma, ctx.reduction)
        return dx, *[None] * 5

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        x, target, weight = ctx.saved_tensors
        loss_dot = focal_slope(x, target, ctx.alpha, ctx.gamma) * x_dot
        return reduce(loss_dot if weight is None else loss_dot * weight, ctx.reduction)


@or_faster(fast.focal_loss)
def focal_loss(
    x: Tensor, target: Tensor, weight: Tensor | None, alpha: float | None, gamma: float, reduction: Reduction
) -> Tensor:
    """Return a q^g softplus(-u) weight, reduced."""
    u = (2 * target).sub_(1).mul_(x)
    loss = u.neg().sigmoid_().pow_(gamma).mul_(logsigmoid(u))
    loss = loss.neg_() if alpha is None else loss.mul_((1 - 2 * alpha) * target - (1 - alpha))
    return reduce(loss if weight is None else loss * weight, reduction)


@or_faster(fast.focal_loss_backward)
def focal_loss_backward(
    dy: Tensor,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    alpha: float | None,
    gamma: float,
    reduction: Reduction,
) -> Tensor:
    """Return dx."""
    scale = per_element(dy, reduction, x.numel())
    scale = scale if weight is None else scale * weight
    return focal_slope(x, target, alpha, gamma) * scale


def focal_slope(x: Tensor, target: Tensor, alpha: float | None, gamma: float) -> Tensor:
    """dl/dx = (1 - alpha - t) q^g (q + g (1 - q) softplus(-u)); without alpha 1 - 2 t comes first."""
    signed_balance = 1 - 2 * target if alpha is None else 1 - alpha - target  # -(2 t - 1) a
    if may_overwrite(x):
        u = (2 * target).sub_(1).mul_(x)
        log_p = logsigmoid(u)
        q = u.neg_().sigmoid_()
        log_p.addcmul_(q, log_p, value=-1).mul_(-gamma).add_(q)
        return log_p.mul_(q.pow_(gamma)).mul_(signed_balance)
    u = (2 * target - 1) * x
    q = (-u).sigmoid()
    return signed_balance * q**gamma * (q - gamma * (1 - q) * logsigmoid(u))


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the cross-entropy of logits x (...) against probabilities target (...), reduced.

    weight scales each element's loss, pos_weight that of the positives; constants that broadcast to x.
    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    x = input
    name = "binary_cross_entropy_with_logits"
    expect(x.shape == target.shape, name, f"target {tuple(x.shape)}", target)
    expect_alike(name, x=x, target=target, weight=weight, pos_weight=pos_weight)
    expect_weight(name, weight, x.shape)
    expect_weight(name, pos_weight, x.shape, "pos_weight")
    expect_reduction(name, reduction)
    y: Tensor = BinaryCrossEntropyFunction.apply(x, target, weight, pos_weight, reduction)
    return y


def sigmoid_focal_loss(
    x: Tensor,
    target: Tensor,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "none",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the focal loss of logits x (...) against target (...), zeros and ones of x's dtype, reduced.

    alpha weighs the positives, 1 - alpha the negatives (None: neither); gamma 0 is plain cross-entropy.
    weight, a constant that broadcasts to x, scales each element's loss: 0 leaves one out, except that a mean
    is still over all.
    Raises ValueError where shapes, dtypes or devices do not fit, and in eager CPU code for other targets.
    """
    name = "sigmoid_focal_loss"
    expect(x.shape == target.shape, name, f"target {tuple(x.shape)}", target)
    expect_weight(name, weight, x.shape)
    expect_alike(name, x=x, target=target, weight=weight)
    expect(alpha is None or 0 <= alpha <= 1, name, "alpha in [0, 1]", alpha)
    expect(gamma >= 0, name, "gamma of at least 0", gamma)
    expect_reduction(name, reduction)
    if may_read(target):
        expect(bool(((target == 0) | (target == 1)).all()), name, "targets of 0 or 1", "something between")
    y: Tensor = FocalFunction.apply(x, target, weight, alpha, gamma, reduction)
    return y


class BCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """As torch.nn.BCEWithLogitsLoss."""

    reduction: Reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(input, target, self.weight, self.pos_weight, self.reduction)


class SigmoidFocalLoss(nn.Module):
    """The focal loss above."""

    def __init__(self, alpha: float | None = 0.25, gamma: float = 2.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.alpha, self.gamma, self.reduction = alpha, gamma, reduction

    def forward(self, x: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return sigmoid_focal_loss(x, target, self.alpha, self.gamma, self.reduction, weight)
