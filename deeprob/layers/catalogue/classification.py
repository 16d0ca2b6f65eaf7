"""Losses of classification, and dropout."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..dropout import gate
from ..losses.cross_entropy import cross_entropy
from ..losses.hinge import multi_margin_loss
from ._entry import Draw, Layer, bench, kink, module, real, tiny


def ignoring(target: Tensor, index: int = -100) -> Tensor:
    """Let the first target be ignored."""
    target = target.clone()
    target.flatten()[:1] = index
    return target


def shares(d: Draw, *shape: int) -> Tensor:
    """Draw probabilities that sum to 1 over axis 1."""
    return d(*shape).softmax(1)


def apart(d: Draw, rows: int, classes: int) -> list[Tensor]:
    """Draw scores at least 0.05 from every margin of one, and targets."""
    x = torch.stack([d.distinct(classes) * 1.37 for _ in range(rows)])
    return [x, d.classes(classes, rows)]


def svm(x: Tensor, target: Tensor, **options: Any) -> Tensor:
    """Call torch's loss, which does not support bfloat16."""
    exact = x.float() if x.dtype == torch.bfloat16 else x
    return F.multi_margin_loss(exact, target, **options).to(x.dtype)


LAYERS = [
    Layer(
        "dropout",
        gate,
        lambda x, keep, p: x * keep / (1 - p),
        batched=(0, 1),
        samples=[
            tiny("half", lambda d: [d(3, 7), d.bits(3, 7)], p=0.5),
            tiny("a tenth", lambda d: [d(2, 3, 4), d.bits(2, 3, 4)], p=0.1),
            real("map", lambda d: [d(4, 8, 6, 6), d.bits(4, 8, 6, 6)], p=0.3),
        ],
        rejects=[(lambda d: [d(3, 7), d.bits(3, 6)], {"p": 0.5})],
    ),
    Layer(
        "cross_entropy",
        cross_entropy,
        F.cross_entropy,
        constants=(2,),
        batched=(0, 1),
        samples=[
            tiny("mean", lambda d: [d(5, 7), d.classes(7, 5)]),
            tiny("sum", lambda d: [d(4, 3), d.classes(3, 4)], reduction="sum"),
            tiny("map, none", lambda d: [d(2, 4, 3, 2), d.classes(4, 2, 3, 2)], reduction="none"),
            tiny("weights", lambda d: [d(5, 4), d.classes(4, 5), d.positive(4)]),
            tiny("smooth", lambda d: [d(5, 4), d.classes(4, 5)], label_smoothing=0.1),
            tiny(
                "smooth, weights, ignored",
                lambda d: [d(5, 4), ignoring(d.classes(4, 5)), d.positive(4)],
                label_smoothing=0.3,
            ),
            tiny(
                "map, class 2 ignored",
                lambda d: [d(2, 4, 3), ignoring(d.classes(4, 2, 3), 2), d.positive(4)],
                ignore_index=2,
            ),
            kink("all ignored", lambda d: [d(5, 4), d.classes(1, 5) - 100, d.positive(4)]),
            kink("maps, all ignored", lambda d: [d(2, 5, 24, 23), d.classes(1, 2, 24, 23) - 100]),
            kink("far apart", lambda d: [d(5, 7) * 200, d.classes(7, 5)], reduction="none"),
            real("1000 classes", lambda d: [d(8, 1000) * 5, d.classes(1000, 8)]),
            real("maps", lambda d: [d(2, 5, 24, 23) * 5, ignoring(d.classes(5, 2, 24, 23)), d.positive(5)]),
            bench("256x1000", lambda d: [d(256, 1000), d.classes(1000, 256)]),
            bench("2048x8192", lambda d: [d(2048, 8192), d.classes(8192, 2048)]),
            bench("maps 8x21x128x128", lambda d: [d(8, 21, 128, 128), d.classes(21, 8, 128, 128)]),
        ],
        modules=[
            module("CrossEntropyLoss", lambda d: [d(5, 4), d.classes(4, 5)], label_smoothing=0.1),
            module("CrossEntropyLoss", lambda d: [d(4), d.classes(4)]),
        ],
        rejects=[
            (lambda d: [d(5, 4), d.classes(4, 6)], {}),
            (lambda d: [d(5, 4), d.classes(4, 5) + 1], {"ignore_index": 1, "reduction": "median"}),
            (lambda d: [d(5, 4), torch.tensor([0, 1, 4, 2, 3])], {}),
            (lambda d: [d(5, 4), torch.tensor([0, 1, -1, 2, 3])], {}),
            (lambda d: [d(5, 4), d(5)], {}),
            (lambda d: [d(5, 4), d.classes(4, 5), d(3)], {}),
        ],
    ),
    Layer(
        "cross_entropy_soft",
        cross_entropy,
        F.cross_entropy,
        constants=(2,),
        batched=(0, 1),
        samples=[
            tiny("mean", lambda d: [d(5, 7), shares(d, 5, 7)]),
            tiny("sum, any positive target", lambda d: [d(4, 3), d.positive(4, 3)], reduction="sum"),
            tiny("map, none", lambda d: [d(2, 4, 3, 2), shares(d, 2, 4, 3, 2)], reduction="none"),
            tiny(
                "smooth, weights",
                lambda d: [d(5, 4), shares(d, 5, 4), d.positive(4)],
                label_smoothing=0.3,
            ),
            kink("far apart", lambda d: [d(5, 7) * 200, shares(d, 5, 7)], reduction="none"),
            real("1000 classes", lambda d: [d(8, 1000) * 5, shares(d, 8, 1000)]),
            bench("256x1000", lambda d: [d(256, 1000), shares(d, 256, 1000)]),
        ],
        modules=[
            module("CrossEntropyLoss", lambda d: [d(5, 4), shares(d, 5, 4)], label_smoothing=0.1),
            module("CrossEntropyLoss", lambda d: [d(4), d.positive(4)]),
        ],
        rejects=[
            (lambda d: [d(5, 4), shares(d, 5, 3)], {}),
            (lambda d: [d(5, 4), shares(d, 5, 4), d(3)], {}),
            (lambda d: [d(5, 4), shares(d, 5, 4)], {"reduction": "median"}),
        ],
    ),
    Layer(
        "multi_margin_loss",
        multi_margin_loss,
        svm,
        batched=(0, 1),
        samples=[
            tiny("mean", lambda d: apart(d, 5, 7)),
            tiny("squared, none", lambda d: apart(d, 4, 5), p=2, margin=0.7, reduction="none"),
            tiny("sum", lambda d: apart(d, 3, 4), reduction="sum"),
            kink("margins met exactly", lambda d: [d.coarse(6, 5), d.classes(5, 6)]),
            real("100 classes", lambda d: [d(16, 100), d.classes(100, 16)], p=2),
            bench("256x1000", lambda d: [d(256, 1000), d.classes(1000, 256)]),
        ],
        modules=[
            module("MultiMarginLoss", lambda d: [d(5, 4), d.classes(4, 5)], p=2, margin=0.5),
            module("MultiMarginLoss", lambda d: [d(4), d.classes(4)]),
        ],
        rejects=[
            (lambda d: [d(5, 4), d.classes(4, 6)], {}),
            (lambda d: [d(5, 4), torch.tensor([0, 1, 4, 2, 3])], {}),
            (lambda d: [d(5, 4), d.classes(4, 5)], {"p": 3}),
        ],
    ),
]
