"""Lovasz-softmax loss: 1 - IoU of each class, made smooth by sorting the errors.

    p (N, C, ...) probabilities   t (N, ...) classes, or ignore_index      M: pixels of the batch, or an image
    e_i = 1 - p_ci where t_i = c, p_ci elsewhere          the error of class c at pixel i

    pixels in the order of falling e:  J_k = 1 - I_k / U_k        the Jaccard loss if the first k were wrong
        I_k = sum_{i > k} [t_i = c],   U_k = sum_i [t_i = c] + sum_{i <= k} [t_i /= c]
    l_c = sum_k e_(k) g_k,   g_k = J_k - J_{k-1},  J_0 = 0
    l = mean over the classes that occur in t

    dp_ci = dl g_k(i) / classes * (-1 where t_i = c, +1 elsewhere)     k(i): the place of pixel i in the order

    The order is constant in the backward: where two errors are alike, both orders give the same loss, and
    each a sub-gradient. Between such points l is linear in p, and its second derivative zero.

A pixel to ignore comes last in the order, with an error and a gradient of zero.
Cost: a sort of M entries a class; saves the slopes dl/dp, one array like p.
Source: Berman et al., The Lovasz-softmax loss (2018), equations 8 to 12 and algorithm 1.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .._function import Function, expect, expect_alike, narrowed, widened
from .cross_entropy import check_target


class LovaszSoftmaxFunction(Function):
    """The loss l, and its slopes dl/dp, which are constant between the points where the order changes."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(p: Tensor, target: Tensor, ignore_index: int, per_image: bool) -> tuple[Tensor, Tensor]:
        # (groups, C, M): pixels that are sorted together lie on the last axis
        wide = widened(p)
        rows = wide.flatten(2) if per_image else wide.movedim(1, 0).flatten(1)[None]
        pixels = (target.flatten(1) if per_image else target.flatten()[None])[:, None]
        valid = pixels != ignore_index
        own = (pixels == torch.arange(rows.shape[1], device=p.device)[:, None]) & valid
        losses, slopes = sorted_losses(rows, own, valid)
        occurs = own.any(2).to(rows.dtype)
        share = occurs / occurs.sum(1, keepdim=True).clamp_min(1) / max(len(rows), 1)
        slopes = slopes * share[..., None]
        if per_image:
            slopes = slopes.reshape(p.shape)
        else:
            slopes = slopes[0].reshape(p.shape[1], p.shape[0], *p.shape[2:]).movedim(0, 1)
        return narrowed((losses * share).sum(), p), narrowed(slopes, p)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])
        ctx.save_for_forward(output[1])

    @staticmethod
    def backward(ctx: Any, dl: Tensor, _: Any) -> Any:
        (slopes,) = ctx.saved_tensors
        return dl * slopes, None, None, None

    @staticmethod
    def tangent(ctx: Any, p_dot: Tensor, *_: Any) -> Any:
        (slopes,) = ctx.saved_tensors
        return (slopes * p_dot).sum(), None


def sorted_losses(p: Tensor, own: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return l_c (G, C) and the slopes dl_c/dp (G, C, M) of p (G, C, M).

    own: bool (G, C, M), the pixels of the class itself; valid: bool (G, 1, M), those that count.
    """
    error = torch.where(own, 1 - p, p)
    key = torch.where(valid, error, -1)  # no error is below 0: ignored pixels come last
    order = key.argsort(dim=2, descending=True, stable=True)
    right = own.gather(2, order).to(p.dtype)
    total = right.sum(2, keepdim=True)
    intersection = total - right.cumsum(2)
    union = total + (1 - right).cumsum(2)
    jaccard = 1 - intersection / union
    g = torch.cat([jaccard[..., :1], jaccard[..., 1:] - jaccard[..., :-1]], 2)
    g = torch.zeros_like(g).scatter(2, order, g) * valid
    return (error * g).sum(2), torch.where(own, -g, g)


def lovasz_softmax_loss(
    p: Tensor, target: Tensor, ignore_index: int = -100, per_image: bool = False
) -> Tensor:
    """Return the loss of probabilities p (N, C, ...) for class indices target (N, ...), a scalar.

    per_image: the IoU of each image, and the mean over images; else that of the batch as one. Classes that
    do not occur do not count; where none does, the loss is 0. Raises ValueError where shapes or dtypes do not
    fit, or a target is no class and not ignore_index.
    """
    name = "lovasz_softmax_loss"
    expect(p.dim() >= 3, name, "p (N, C, ...) with pixels", p)
    expect_alike(name, p=p)
    check_target(name, p, target, ignore_index)
    y: Tensor = LovaszSoftmaxFunction.apply(p, target, ignore_index, per_image)[0]
    return y


class LovaszSoftmaxLoss(nn.Module):
    """The loss above."""

    def __init__(self, ignore_index: int = -100, per_image: bool = False) -> None:
        super().__init__()
        self.ignore_index, self.per_image = ignore_index, per_image

    def forward(self, p: Tensor, target: Tensor) -> Tensor:
        return lovasz_softmax_loss(p, target, self.ignore_index, self.per_image)
