"""Softmax cross-entropy with class indices, or with a probability for each class.

    p_c = exp(x_c) / sum_j exp(x_j)
    q_c = w_c ((1 - e) [c = t] + e / C),    Q = sum_c q_c        t target, e label smoothing, w class weights
    loss_n = - sum_c q_c log p_c

    dx_c = dloss (Q p_c - q_c)              with w = 1 and e = 0: what was predicted less what was true

    x (N, C, ...)   t (N, ...) a class or ignore_index (loss and gradient zero)   w (C)
    mean: sum_n loss_n / sum_n w_t          over the targets not ignored, as in torch

    With probabilities s (N, C, ...) in place of a class, as where images were mixed:

    q_c = w_c ((1 - e) s_c + e / C),   dx_c = dloss (Q p_c - q_c),   ds_c = - dloss w_c (1 - e) log p_c
    mean: sum_n loss_n / N                  over all rows, whatever their weights, as in torch

Cost: one exponential an entry; saves p and t; with probabilities x and s, and one more exponential backward.
Faster forms: kernels/cross_entropy.py.
p leaves the Function as a second output, so that the second derivative reaches it: the derivative
of softmax is dx_c = p_c (dp_c - sum_j p_j dp_j).
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), 6.2.2.3; Szegedy et al. (2016), section 7.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .._fast import or_faster
from .._function import Function, expect, expect_alike, is_watched, may_overwrite, narrowed, widened
from ..kernels import cross_entropy as fast
from ..softmax import log_softmax
from ._reduction import Reduction, expect_reduction, mean_of, per_element, reduce


class CrossEntropyFunction(Function):
    """Losses a sample, zero where the target is ignored, reduced, and the probabilities."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(
        x: Tensor,
        target: Tensor,
        valid: Tensor | None,
        weight: Tensor | None,
        smoothing: float,
        reduction: Reduction,
    ) -> tuple[Tensor, Tensor]:
        p, log_sum = probabilities(widened(x))
        loss = log_sum - x.gather(1, target[:, None]).squeeze(1)
        if weight is not None:
            loss = loss * weight[target]
        if smoothing:
            everywhere = log_sum[:, None] - x
            everywhere = (everywhere if weight is None else everywhere * per_class(weight, x)).mean(1)
            loss = (1 - smoothing) * loss + smoothing * everywhere
        loss = reduce(loss if valid is None else torch.where(valid, loss, 0), reduction)
        return narrowed(loss, x), narrowed(p, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        _, target, valid, weight, ctx.smoothing, ctx.reduction = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(target, valid, weight, output[1])
        ctx.save_for_forward(target, valid, weight, output[1])

    @staticmethod
    def backward(ctx: Any, dloss: Tensor | None, dp: Tensor | None) -> Any:
        target, valid, weight, p = ctx.saved_tensors
        dx = None
        if dloss is not None:
            dloss = per_element(dloss, ctx.reduction, target.numel()).expand(target.shape)
            dloss = dloss if valid is None else dloss * valid
            dx = loss_gradient(dloss[:, None], target, weight, p, ctx.smoothing)
        if dp is not None and not torch.compiler.is_compiling():  # zeros there, as nothing else reads p
            through_p = softmax_gradient(dp, p)
            dx = through_p if dx is None else dx + through_p
        return dx, None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        target, valid, weight, p = ctx.saved_tensors
        one = torch.ones_like(p[:, :1])
        loss_dot = (loss_gradient(one, target, weight, p, ctx.smoothing) * x_dot).sum(1)
        loss_dot = reduce(loss_dot if valid is None else loss_dot * valid, ctx.reduction)
        return loss_dot, softmax_gradient(x_dot, p)


@or_faster(fast.probabilities)
def probabilities(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return p (N, C, ...) and log sum_c exp(x_c) (N, ...)."""
    p = x.softmax(1)
    # log of the normaliser, read off at the largest entry, where the probability cannot underflow
    return p, x.amax(1) - p.amax(1).log()


@or_faster(fast.loss_gradient)
def loss_gradient(
    dloss: Tensor, target: Tensor, weight: Tensor | None, p: Tensor, smoothing: float
) -> Tensor:
    """Return dloss (Q p - q), dloss (N, 1, ...)."""
    # what q has at the target alone
    if weight is None:
        hard = torch.full_like(dloss, 1 - smoothing)
    else:
        hard = (1 - smoothing) * weight[target][:, None]
    if smoothing:  # and at every class, w e / C
        mass = hard + (smoothing if weight is None else smoothing * weight.mean())
        share = dloss * (smoothing / p.shape[1])
        dx = p * (dloss * mass) - (share if weight is None else share * per_class(weight, p))
    else:
        dx = p * (dloss * hard)
    if may_overwrite(dloss):
        return dx.scatter_add_(1, target[:, None], -dloss * hard)
    return dx.scatter_add(1, target[:, None], -dloss * hard)


def softmax_gradient(dp: Tensor, p: Tensor) -> Tensor:
    """Return p (dp - sum_j p_j dp_j), the classes on axis 1: softmax's derivative, which is symmetric."""
    return p * (dp - (p * dp).sum(1, keepdim=True))


def per_class(weight: Tensor, x: Tensor) -> Tensor:
    """Shape weight (C) to broadcast over x (N, C, ...)."""
    return weight.reshape(1, -1, *[1] * (x.dim() - 2))


class SoftCrossEntropyFunction(Function):
    """Losses a sample, for probabilities s of the classes, reduced; and log sum_c exp(x_c), for the loops."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(
        x: Tensor, s: Tensor, weight: Tensor | None, smoothing: float, reduction: Reduction
    ) -> tuple[Tensor, Tensor]:
        loss, log_sum = soft_losses(widened(x), widened(s), widened(weight), smoothing)
        return narrowed(reduce(loss, reduction), x), log_sum

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, s, weight, ctx.smoothing, ctx.reduction = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, s, weight, output[1])
        ctx.save_for_forward(x, s, weight)

    @staticmethod
    def backward(ctx: Any, dloss: Tensor, _: Any) -> Any:
        x, s, weight, log_sum = ctx.saved_tensors
        needs = ctx.needs_input_grad[:2]
        dloss = per_element(dloss, ctx.reduction, log_sum.numel()).expand(log_sum.shape)
        given = (widened(dloss), widened(x), widened(s), widened(weight), ctx.smoothing, log_sum)
        dx, ds = (None if g is None else narrowed(g, x) for g in soft_gradients(*given, needs))
        return dx, ds, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Any, s_dot: Any, *_: Any) -> Any:
        x, s, weight = ctx.saved_tensors
        dots = (x_dot, s_dot)
        needs = (x_dot is not None, s_dot is not None)
        slopes = soft_slopes(log_softmax(x, 1), s, weight, ctx.smoothing, needs)
        parts = [(slope * dot).sum(1) for slope, dot in zip(slopes, dots, strict=True) if dot is not None]
        return reduce(torch.stack(parts).sum(0), ctx.reduction), None


@or_faster(fast.soft_losses)
def soft_losses(x: Tensor, s: Tensor, weight: Tensor | None, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return - sum_c q_c log p_c and log sum_c exp(x_c), both (N, ...)."""
    log_sum = x.logsumexp(1)
    return (masses(s, weight, smoothing) * (log_sum[:, None] - x)).sum(1), log_sum


@or_faster(fast.soft_gradients)
def soft_gradients(
    dloss: Tensor,
    x: Tensor,
    s: Tensor,
    weight: Tensor | None,
    smoothing: float,
    log_sum: Tensor,
    needs: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Return dx and ds, where needed, of dloss (N, ...)."""
    traced = torch.compiler.is_compiling()  # nobody differentiates what is compiled once more
    log_p = x - log_sum[:, None] if traced else log_softmax(x, 1)
    dx, ds = soft_slopes(log_p, s, weight, smoothing, needs)
    return None if dx is None else dx * dloss[:, None], None if ds is None else ds * dloss[:, None]


def soft_slopes(
    log_p: Tensor, s: Tensor, weight: Tensor | None, smoothing: float, needs: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Return the derivatives Q p - q of x, and - w (1 - e) log p of s, (N, C, ...), where needed."""
    dx = ds = None
    if needs[0]:
        q = masses(s, weight, smoothing)
        dx = log_p.exp() * q.sum(1, keepdim=True) - q
    if needs[1]:
        ds = (smoothing - 1) * log_p
        ds = ds if weight is None else ds * per_class(weight, ds)
    return dx, ds


def masses(s: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
    """Return q = w ((1 - e) s + e / C), (N, C, ...)."""
    if smoothing:
        s = (1 - smoothing) * s + smoothing / s.shape[1]
    return s if weight is None else s * per_class(weight, s)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the loss of logits x (N, C, ...) or (C) for class indices target (N, ...) or ().

    A target of x's shape and of floating point holds probabilities, and then none is ignored.
    Raises ValueError where shapes or dtypes do not fit, or a target is no class and not ignore_index.
    """
    x = input
    name = "cross_entropy"
    if x.dim() == 1:
        single = cross_entropy(x[None], target[None], weight, ignore_index, reduction, label_smoothing)
        return single.squeeze(0) if reduction == "none" else single
    expect(x.dim() >= 2, name, "x (N, C, ...)", x)
    expect_alike(name, x=x)
    soft = target.is_floating_point()
    if soft:
        expect(target.shape == x.shape, name, f"probabilities {tuple(x.shape)} as x", target)
        expect_alike(name, x=x, target=target)
        expect(ignore_index < 0, name, "no ignore_index for probabilities", ignore_index)
    else:
        all_count = check_target(name, x, target, ignore_index)
    expect(weight is None or weight.shape == x.shape[1:2], name, f"weight ({x.shape[1]},)", weight)
    expect_reduction(name, reduction)
    expect(0 <= label_smoothing <= 1, name, "label_smoothing between 0 and 1", label_smoothing)
    if soft:
        y: Tensor = SoftCrossEntropyFunction.apply(x, target, weight, label_smoothing, reduction)[0]
        return y
    valid = None
    if not all_count:
        valid = target != ignore_index
        target = torch.where(valid, target, 0)
    uneven = reduction == "mean" and (weight is not None or valid is not None)
    inner: Reduction = "sum" if uneven else reduction
    loss: Tensor = CrossEntropyFunction.apply(x, target, valid, weight, label_smoothing, inner)[0]
    if not uneven:
        return loss
    counted = valid if weight is None else weight[target] if valid is None else weight[target] * valid
    assert counted is not None
    return mean_of(loss, counted.sum())


def check_target(name: str, x: Tensor, target: Tensor, ignore_index: int | None = None) -> bool:
    """Raise ValueError unless target (N, ...) holds classes of x (N, C, ...), or ignore_index.

    Returns whether none is known to be ignored.
    """
    shape = (x.shape[0], *x.shape[2:])
    expect(target.shape == shape, name, f"target {shape} for x {tuple(x.shape)}", target)
    expect(target.dtype == torch.int64, name, "target of class indices, torch.int64", target.dtype)
    expect(target.device == x.device, name, f"target on {x.device}", target.device)
    traced = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or is_watched()
    if traced or target.is_meta or not target.numel():
        return False  # the values are not known yet
    low, high = (int(i) for i in torch.aminmax(target))
    if low >= 0 and high < x.shape[1]:
        return ignore_index is None or not low <= ignore_index <= high
    wrong = (target < 0) | (target >= x.shape[1])
    if ignore_index is not None:
        wrong &= target != ignore_index
    if bool(wrong.any()):
        expect(False, name, f"classes 0 to {x.shape[1] - 1} as target", int(target[wrong][0]))
    return False


class CrossEntropyLoss(nn.CrossEntropyLoss):
    """As torch.nn.CrossEntropyLoss."""

    reduction: Reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )
