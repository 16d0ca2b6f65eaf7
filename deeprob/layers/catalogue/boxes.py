"""Boxes from what a detection head says of them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..box_decoding import deltas_to_boxes, distances_to_boxes
from ._entry import Draw, Layer, bench, kink, real, tiny


def _boxes(d: Draw, *shape: int) -> Tensor:
    corner = d(*shape, 2)
    return torch.cat([corner, corner + d.positive(*shape, 2)], -1)


def composed_distances(points: Tensor, distances: Tensor) -> Tensor:
    """The boxes as mmdetection's distance2bbox makes them."""
    x, y = points.unbind(-1)
    left, top, right, bottom = distances.unbind(-1)
    return torch.stack([x - left, y - top, x + right, y + bottom], -1)


def composed_deltas(
    boxes: Tensor,
    deltas: Tensor,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    clamp: float = math.log(1000 / 16),
) -> Tensor:
    """The boxes as torchvision's BoxCoder makes them."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    width, height = x2 - x1, y2 - y1
    dx, dy, dw, dh = (d / w for d, w in zip(deltas.unbind(-1), weights, strict=True))
    x, y = dx * width + (x1 + 0.5 * width), dy * height + (y1 + 0.5 * height)
    w, h = dw.clamp(max=clamp).exp() * width, dh.clamp(max=clamp).exp() * height
    return torch.stack([x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h], -1)


LAYERS = [
    Layer(
        "distances_to_boxes",
        distances_to_boxes,
        composed_distances,
        samples=[
            tiny("a box a point", lambda d: [d(5, 2), d.positive(5, 4)]),
            tiny("points of every image", lambda d: [d(5, 2), d.positive(3, 5, 4)]),
            tiny("one point", lambda d: [d(2), d.positive(3, 4)]),
            real("levels", lambda d: [d(420, 2), d.positive(4, 420, 4)]),
            bench("8x9975", lambda d: [d(9975, 2), d.positive(8, 9975, 4)]),
        ],
        rejects=[
            (lambda d: [d(5, 3), d(5, 4)], {}),
            (lambda d: [d(5, 2), d(5, 2)], {}),
            (lambda d: [d(5, 2), d(3, 4)], {}),
            (lambda d: [d(5, 2), d(5, 4).float()], {}),
            (lambda d: [d.classes(5, 5, 2), d.classes(5, 5, 4)], {}),
        ],
        batched=(1,),
    ),
    Layer(
        "deltas_to_boxes",
        deltas_to_boxes,
        composed_deltas,
        samples=[
            tiny("a box each", lambda d: [_boxes(d, 5), d(5, 4)]),
            tiny(
                "by class, weighted, some clamped",
                lambda d: [_boxes(d, 4, 1), d.distinct(4, 3, 4)],
                weights=(10.0, 10.0, 2.0, 3.0),
                clamp=0.3,
            ),
            tiny("anchors of every image", lambda d: [_boxes(d, 5), d(2, 5, 4)]),
            kink("at the clamp", lambda d: [_boxes(d, 6), d.coarse(6, 4)], clamp=1.0),
            real("proposals", lambda d: [_boxes(d, 300), d(2, 300, 4)]),
            bench("8x9975", lambda d: [_boxes(d, 9975), d(8, 9975, 4)]),
        ],
        rejects=[
            (lambda d: [d(5, 5), d(5, 4)], {}),
            (lambda d: [d(5, 4), d(5, 8)], {}),
            (lambda d: [d(5, 4), d(3, 4)], {}),
            (lambda d: [d(5, 4), d(5, 4).float()], {}),
            (lambda d: [d(5, 4), d(5, 4)], {"weights": (1.0, 1.0)}),
            (lambda d: [d(5, 4), d(5, 4)], {"weights": (1.0, 1.0, 0.0, 1.0)}),
        ],
        batched=(1,),
    ),
]
