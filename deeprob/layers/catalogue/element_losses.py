"""Losses that judge each element, box or mask by itself, and the L2 regulariser."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses.binary import binary_cross_entropy_with_logits, sigmoid_focal_loss
from ..losses.dice import dice_loss
from ..losses.giou import generalized_box_iou_loss
from ..losses.l2_regularizer import l2_regularizer
from ..losses.regression import mse_loss, smooth_l1_loss
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


def _boxes(d: Draw, *count: int, spread: float = 1.0) -> Tensor:
    """Draw boxes (x1, y1, x2, y2); the smaller the spread, the more they overlap."""
    corner, size = d(*count, 2) * spread, d.positive(*count, 2)
    return torch.cat([corner, corner + size], -1)


def composed_focal(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: str = "none",
) -> Tensor:
    """The focal loss as torchvision composes it."""
    p = torch.sigmoid(x)
    loss = F.binary_cross_entropy_with_logits(x, target, weight, reduction="none")
    loss = loss * (1 - (p * target + (1 - p) * (1 - target))) ** gamma
    if alpha is not None:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def composed_giou(a: Tensor, b: Tensor, weight: Tensor | None = None, reduction: str = "none") -> Tensor:
    """The generalised IoU loss as torchvision composes it."""
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    lo, hi = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    i, c = (hi - lo).clamp_min(0).prod(-1), hull.prod(-1)
    u = size_a.prod(-1) + size_b.prod(-1) - i
    loss = 1 - i / (u + 1e-7) + (c - u) / (c + 1e-7)
    loss = loss if weight is None else loss * weight
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def composed_dice(
    p: Tensor,
    target: Tensor,
    dim: int | tuple[int, ...] = (-2, -1),
    eps: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """The Dice loss as MONAI composes it."""
    loss = 1 - (2 * (p * target).sum(dim) + eps) / (p.sum(dim) + target.sum(dim) + eps)
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
        lambda x, target, weight=None, **options: sigmoid_focal_loss(x, target, weight=weight, **options),
        composed_focal,
        samples=[
            tiny("none", lambda d: [d(3, 5), _signs(d, 3, 5)]),
            tiny("mean, no alpha", lambda d: [d(2, 3, 4), _signs(d, 2, 3, 4)], reduction="mean", alpha=None),
            tiny("sum, gamma", lambda d: [d(7), _signs(d, 7)], reduction="sum", gamma=1.5, alpha=0.7),
            tiny("gamma 0", lambda d: [d(3, 5), _signs(d, 3, 5)], gamma=0.0),
            tiny("weights", lambda d: [d(2, 3, 5), _signs(d, 2, 3, 5), d.positive(3, 1)], reduction="mean"),
            real("anchors", lambda d: [d(8, 90), _signs(d, 8, 90)]),
            bench("64x8192", lambda d: [d(64, 8192), _signs(d, 64, 8192)], reduction="sum"),
        ],
        rejects=[
            *PAIR_REJECTS,
            (lambda d: [d(3, 4), d.uniform(3, 4, low=0.1, high=0.9)], {}),
            (lambda d: [d(3, 4), _signs(d, 3, 4)], {"alpha": 2.0}),
            (lambda d: [d(3, 4), _signs(d, 3, 4)], {"gamma": -1.0}),
            (lambda d: [d(3, 4), _signs(d, 3, 4), d.positive(3)], {}),
        ],
        constants=(1, 2),
        batched=(0, 1),
    ),
    Layer(
        "generalized_box_iou_loss",
        lambda a, b, weight=None, **options: generalized_box_iou_loss(a, b, weight=weight, **options),
        composed_giou,
        samples=[
            tiny("overlapping", lambda d: [_boxes(d, 9, spread=0.1), _boxes(d, 9, spread=0.1)]),
            tiny(
                "apart, mean",
                lambda d: [_boxes(d, 9, spread=2.0), _boxes(d, 9, spread=2.0)],
                reduction="mean",
            ),
            tiny("sum", lambda d: [_boxes(d, 7), _boxes(d, 7)], reduction="sum"),
            tiny("weights", lambda d: [_boxes(d, 2, 5), _boxes(d, 2, 5), d.positive(5)], reduction="mean"),
            kink("the same box", lambda d: [_boxes(d, 7), _boxes(Draw(0, d.dtype), 7)]),
            real("proposals", lambda d: [_boxes(d, 300), _boxes(d, 300)]),
            bench("4096 boxes", lambda d: [_boxes(d, 4096), _boxes(d, 4096)], reduction="sum"),
        ],
        rejects=[
            (lambda d: [d(3, 5), d(3, 5)], {}),
            (lambda d: [d(3, 4), d(2, 4)], {}),
            (lambda d: [d(3, 4), d(3, 4).float()], {}),
            (lambda d: [d(3, 4), d(3, 4), d(4)], {}),
            (lambda d: [d(3, 4), d(3, 4)], {"reduction": "average"}),
        ],
        constants=(2,),
        batched=(0, 1),
    ),
    Layer(
        "dice_loss",
        dice_loss,
        composed_dice,
        samples=[
            tiny("an image and class", lambda d: [d.uniform(2, 3, 4, 3), d.uniform(2, 3, 4, 3)]),
            tiny(
                "a class of the batch",
                lambda d: [d.uniform(2, 3, 4, 2), _signs(d, 2, 3, 4, 2)],
                dim=(0, 2, 3),
                reduction="none",
            ),
            tiny("rows", lambda d: [d.uniform(5, 7), _signs(d, 5, 7)], dim=-1, eps=1e-3, reduction="sum"),
            tiny("one mask", lambda d: [d.uniform(4, 5), _signs(d, 4, 5)], reduction="none"),
            kink("both empty", lambda d: [0 * d(3, 4, 5), 0 * d(3, 4, 5)]),
            real("masks", lambda d: [d.uniform(4, 3, 20, 16), _signs(d, 4, 3, 20, 16)]),
            bench("8x21x128x128", lambda d: [d.uniform(8, 21, 128, 128), _signs(d, 8, 21, 128, 128)]),
            bench("64 masks of 28x28", lambda d: [d.uniform(64, 28, 28), _signs(d, 64, 28, 28)]),
        ],
        rejects=[
            *PAIR_REJECTS,
            (lambda d: [d(3, 4), d(3, 4)], {"dim": 2}),
            (lambda d: [d(3, 4), d(3, 4)], {"dim": ()}),
            (lambda d: [d(3, 4), d(3, 4)], {"eps": 0.0}),
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
