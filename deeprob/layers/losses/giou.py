"""Generalised intersection over union of boxes, as a loss.

    a, b (..., 4) boxes (x1, y1, x2, y2)        l = (1 - I / U + (C - U) / C) weight        (...)

    area of a box       A = w h        (lo, hi) = its two corners, size (w, h) = hi - lo
    intersection        I: of the box between the larger lo and the smaller hi, 0 where that has no size
    union               U = A + B - I
    hull                C: of the box between the smaller lo and the larger hi

    dl/dU = I / U^2 - 1 / C,   dl/dI = -1 / U - dl/dU,   dl/dA = dl/dB = dl/dU,   dl/dC = U / C^2
    an area w h has the gradient (h, w) in its size: +(h, w) at hi, -(h, w) at lo
    a maximum or minimum sends its gradient to the corner that won it, half to each at a tie

The hull gives boxes apart a gradient: it pulls them together, where I alone is flat.
Cost: about 100 FLOPs a box; saves a and b. U and C are raised by eps = 1e-7 where they divide.
Source: Rezatofighi et al. 2019, Generalized intersection over union, algorithm 2.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .._function import Function, expect, expect_alike
from ..gates import share_of_first
from ._reduction import Reduction, expect_reduction, expect_weight, per_element, reduce

EPS = 1e-7


class GIoUFunction(Function):
    """The loss above. The weights are constants."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(a: Tensor, b: Tensor, weight: Tensor | None, reduction: Reduction) -> Tensor:
        intersection, hull = overlap(a, b)
        union = area(a) + area(b) - area(intersection)
        outside = area(hull) - union
        loss = 1 - area(intersection) / (union + EPS) + outside / (area(hull) + EPS)
        return reduce(loss if weight is None else loss * weight, reduction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.reduction = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a, b, weight = ctx.saved_tensors
        scale = per_element(dy, ctx.reduction, a.shape[:-1].numel())
        scale = (scale if weight is None else scale * weight)[..., None]
        dl_da, dl_db = giou_slopes(a, b)
        return dl_da * scale, dl_db * scale, None, None

    @staticmethod
    def tangent(ctx: Any, a_dot: Tensor, b_dot: Tensor, *_: Any) -> Any:
        a, b, weight = ctx.saved_tensors
        dl_da, dl_db = giou_slopes(a, b)
        loss_dot = (dl_da * a_dot + dl_db * b_dot).sum(-1)
        return reduce(loss_dot if weight is None else loss_dot * weight, ctx.reduction)


def area(box: Tensor) -> Tensor:
    """Area (...) of boxes (..., 4)."""
    return (box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1])


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection and hull (..., 4) of the boxes; an empty intersection has no size."""
    larger, smaller = torch.maximum(a, b), torch.minimum(a, b)
    lo, hi = larger[..., :2], smaller[..., 2:]
    intersection = torch.cat([lo, torch.where((hi > lo).all(-1, keepdim=True), hi, lo)], -1)
    return intersection, torch.cat([smaller[..., :2], larger[..., 2:]], -1)


def giou_slopes(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """dl/da and dl/db (..., 4)."""
    intersection, hull = overlap(a, b)
    i, c = area(intersection)[..., None], area(hull)[..., None] + EPS
    u = area(a)[..., None] + area(b)[..., None] - i + EPS
    dl_du, dl_dc = i / u**2 - 1 / c, u / c**2
    dl_di = -1 / u - dl_du
    in_intersection, in_hull = dl_di * area_slope(intersection), dl_dc * area_slope(hull)
    larger = share_of_first(a, b)  # where a gave the larger coordinate: the hull's hi, the intersection's lo
    a_in_hull = torch.cat([1 - larger[..., :2], larger[..., 2:]], -1)
    routed = a_in_hull * (in_hull - in_intersection)
    return dl_du * area_slope(a) + in_intersection + routed, dl_du * area_slope(b) + in_hull - routed


def area_slope(box: Tensor) -> Tensor:
    """dA/dbox (..., 4) = (-h, -w, h, w)."""
    other_side = (box[..., 2:] - box[..., :2]).flip(-1)
    return torch.cat([-other_side, other_side], -1)


def generalized_box_iou_loss(
    a: Tensor, b: Tensor, reduction: Reduction = "none", weight: Tensor | None = None
) -> Tensor:
    """Return 1 - GIoU of boxes a, b (..., 4), x1 <= x2 and y1 <= y2 in any unit: 0 if equal, 2 if far apart.

    weight, a constant that broadcasts to (...), scales each box's loss; a mean is still over all boxes.
    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    name = "generalized_box_iou_loss"
    expect(a.dim() > 0 and a.shape[-1] == 4, name, "a (..., 4)", a)
    expect(b.shape == a.shape, name, f"b {tuple(a.shape)}", b)
    expect_weight(name, weight, a.shape[:-1])
    expect_alike(name, a=a, b=b, weight=weight)
    expect_reduction(name, reduction)
    y: Tensor = GIoUFunction.apply(a, b, weight, reduction)
    return y


class GeneralizedBoxIoULoss(nn.Module):
    """The loss above."""

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
        return generalized_box_iou_loss(a, b, self.reduction, weight)
