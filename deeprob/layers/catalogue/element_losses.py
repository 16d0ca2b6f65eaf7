"""Losses that judge each element or box by itself, and the L2 regulariser."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..binary_losses import binary_cross_entropy_with_logits, sigmoid_focal_loss
from ..giou import generalized_box_iou_loss
from ..l2_regularizer import l2_regularizer
from ..regression_losses import mse_loss, smooth_l1_loss
from ._entry import Draw, Layer, bench, kink, module, real, tiny

PAIR_REJECTS = [
    (lambda d: [d(3, 4), d(4)], {}),
    (lambda d: [d(3, 4), d(3, 4).float()], {}),
    (lambda d: [d.classes(2, 3, 4), d.classes(2, 3, 4)], {}),
    (lambda d: [d(3, 4), d(3, 4)], {"reduction": "average"}),
]


def _smooth_l1_inputs(d: Draw) -> list[Tensor]:
    """Keep the errors away from the corner, which lies at beta = 1 or 0.5."""
    error = torch.tensor([-1.8, -0.8, -0.3, 0.2, 0.7, 1.6], dtype=d.dtype, device=d.device).expand(3, 6)
    target = d(3, 6)
    return [target + error, target]


def _signs(d: Draw, *shape: int) -> Tensor:
    """Draw targets of 0 and 1."""
    return d.bits(*shape).to(d.dtype)


def _boxes(d: Draw, count: int, spread: float = 1.0) -> Tensor:
    """Draw boxes (x1, y1, x2, y2); the smaller the spread, the more they overlap."""
    corner, size = d(count, 2) * spread, d.positive(count, 2)
    return torch.cat([corner, corner + size], 1)


def composed_focal(
    x: Tensor, target: Tensor, alpha: float | None = 0.25, gamma: float = 2.0, reduction: str = "none"
) -> Tensor:
    """The focal loss as torchvision composes it."""
    p = torch.sigmoid(x)
    loss = F.binary_cross_entropy_with_logits(x, target, reduction="none")
    loss = loss * (1 - (p * target + (1 - p) * (1 - target))) ** gamma
    if alpha is not None:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def composed_giou(a: Tensor, b: Tensor, reduction: str = "none") -> Tensor:
    """The generalised IoU loss as torchvision composes it."""
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    intersection = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp_min(0)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    i, c = intersection.prod(1), hull.prod(1)
    u = size_a.prod(1) + size_b.prod(1) - i
    loss = 1 - i / (u + 1e-7) + (c - u) / (c + 1e-7)
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


LAYERS = [
    Layer(
        "mse_loss",
        mse_loss,
        F.mse_loss,
        samples=[
            tiny("mean", lambda d: [d(3, 5), d(3, 5)]),
            tiny("none", lambda d: [d(2, 3, 4, 2), d(2, 3, 4, 2)], reduction="none"),
            tiny("sum", lambda d: [d(7), d(7)], reduction="sum"),
            real("rows", lambda d: [d(65, 64), d(65, 64)]),
            bench("64x1024", lambda d: [d(64, 1024), d(64, 1024)]),
            bench("32x3x128x128", lambda d: [d(32, 3, 128, 128), d(32, 3, 128, 128)]),
        ],
        modules=[module("MSELoss", lambda d: [d(3, 4), d(3, 4)])],
        rejects=PAIR_REJECTS,
        batched=(0, 1),
    ),
    Layer(
        "smooth_l1_loss",
        smooth_l1_loss,
        F.smooth_l1_loss,
        samples=[
            tiny("mean", _smooth_l1_inputs),
            tiny("none, beta", _smooth_l1_inputs, reduction="none", beta=0.5),
            tiny("sum, beta 0", lambda d: [d.distinct(3, 4) + 3, d.distinct(3, 4)], reduction="sum", beta=0),
            kink("corners and zero", lambda d: [d.coarse(5, 8), d.coarse(5, 8)]),
            kink("zero, beta 0", lambda d: [d.coarse(5, 8), d.coarse(5, 8)], beta=0),
            real("rows", lambda d: [d(65, 64), d(65, 64)]),
            bench("64x1024", lambda d: [d(64, 1024), d(64, 1024)]),
            bench("32x3x128x128", lambda d: [d(32, 3, 128, 128), d(32, 3, 128, 128)]),
        ],
        modules=[
            module("SmoothL1Loss", lambda d: [d(3, 4), d(3, 4)]),
            module("SmoothL1Loss", lambda d: [d(3, 4), d(3, 4)], reduction="sum", beta=0.3),
        ],
        rejects=[*PAIR_REJECTS, (lambda d: [d(3, 4), d(3, 4)], {"beta": -1})],
        batched=(0, 1),
    ),
    Layer(
        "binary_cross_entropy_with_logits",
        binary_cross_entropy_with_logits,
        lambda x, target, weight=None, pos_weight=None, reduction="mean": F.binary_cross_entropy_with_logits(
            x, target, weight, pos_weight=pos_weight, reduction=reduction
        ),
        samples=[
            tiny("mean", lambda d: [d(3, 5), d.uniform(3, 5)]),
            tiny("none", lambda d: [d(2, 3, 4), d.uniform(2, 3, 4)], reduction="none"),
            tiny(
                "weights", lambda d: [d(3, 5), d.uniform(3, 5), d.positive(5), d.positive(5)], reduction="sum"
            ),
            kink("certain", lambda d: [100 * d.nonzero(3, 5), _signs(d, 3, 5)]),
            real("anchors", lambda d: [d(8, 90), _signs(d, 8, 90)]),
            bench("64x8192", lambda d: [d(64, 8192), _signs(d, 64, 8192)]),
        ],
        modules=[
            module("BCEWithLogitsLoss", lambda d: [d(3, 4), d.uniform(3, 4)]),
            module(
                "BCEWithLogitsLoss",
                lambda d: [d(3, 4), d.uniform(3, 4)],
                reduction="sum",
                weight=torch.tensor([1.0, 2.0, 3.0, 0.5]),
                pos_weight=torch.tensor([2.0]),
            ),
        ],
        rejects=[*PAIR_REJECTS, (lambda d: [d(3, 4), d(3, 4), d(3)], {})],
        constants=(2, 3),
        batched=(0, 1),
    ),
    Layer(
        "sigmoid_focal_loss",
        sigmoid_focal_loss,
        composed_focal,
        samples=[
            tiny("none", lambda d: [d(3, 5), _signs(d, 3, 5)]),
            tiny("mean, no alpha", lambda d: [d(2, 3, 4), _signs(d, 2, 3, 4)], reduction="mean", alpha=None),
            tiny("sum, gamma", lambda d: [d(7), _signs(d, 7)], reduction="sum", gamma=1.5, alpha=0.7),
            tiny("gamma 0", lambda d: [d(3, 5), _signs(d, 3, 5)], gamma=0.0),
            real("anchors", lambda d: [d(8, 90), _signs(d, 8, 90)]),
            bench("64x8192", lambda d: [d(64, 8192), _signs(d, 64, 8192)], reduction="sum"),
        ],
        rejects=[
            *PAIR_REJECTS,
            (lambda d: [d(3, 4), d.uniform(3, 4, low=0.1, high=0.9)], {}),
            (lambda d: [d(3, 4), _signs(d, 3, 4)], {"alpha": 2.0}),
            (lambda d: [d(3, 4), _signs(d, 3, 4)], {"gamma": -1.0}),
        ],
        constants=(1,),
        batched=(0, 1),
    ),
    Layer(
        "generalized_box_iou_loss",
        generalized_box_iou_loss,
        composed_giou,
        samples=[
            tiny("overlapping", lambda d: [_boxes(d, 9, 0.1), _boxes(d, 9, 0.1)]),
            tiny("apart, mean", lambda d: [_boxes(d, 9, 2.0), _boxes(d, 9, 2.0)], reduction="mean"),
            tiny("sum", lambda d: [_boxes(d, 7), _boxes(d, 7)], reduction="sum"),
            kink("the same box", lambda d: [_boxes(d, 7), _boxes(Draw(0, d.dtype), 7)]),
            real("proposals", lambda d: [_boxes(d, 300), _boxes(d, 300)]),
            bench("4096 boxes", lambda d: [_boxes(d, 4096), _boxes(d, 4096)], reduction="sum"),
        ],
        rejects=[
            (lambda d: [d(3, 5), d(3, 5)], {}),
            (lambda d: [d(3, 4), d(2, 4)], {}),
            (lambda d: [d(3, 4), d(3, 4).float()], {}),
            (lambda d: [d(3, 4), d(3, 4)], {"reduction": "average"}),
        ],
        batched=(0, 1),
    ),
    Layer(
        "l2_regularizer",
        l2_regularizer,
        lambda *weights, strength: strength / 2 * torch.stack([w.square().sum() for w in weights]).sum(),
        samples=[
            tiny("one", lambda d: [d(3, 5)], strength=0.3),
            tiny("a matrix and a bias", lambda d: [d(3, 5), d(3)], strength=2.0),
            real("three layers", lambda d: [d(32, 16), d(16, 16), d(16, 8)], strength=0.1),
            bench("1024x3072", lambda d: [d(1024, 3072)], strength=1e-4),
        ],
        rejects=[(lambda d: [], {"strength": 1.0}), (lambda d: [d.classes(3, 4)], {"strength": 1.0})],
    ),
]
