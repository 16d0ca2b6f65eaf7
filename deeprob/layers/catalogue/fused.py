"""Fused blocks, against their compositions in torch."""

import torch.nn.functional as F
from torch import Tensor

from ..fused import add_relu, linear_cross_entropy, linear_relu, point_mlp_max
from ._entry import Layer, bench, real, tiny


def composed_loss(
    x: Tensor, weight: Tensor, target: Tensor, ignore_index: int = -100, rows: int = 0
) -> Tensor:
    """Compose linear and cross-entropy."""
    return F.cross_entropy(F.linear(x, weight), target, ignore_index=ignore_index)


def composed_points(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compose linear, relu and the maximum over points."""
    return F.linear(x, weight, bias).relu().amax(1)


LAYERS = [
    Layer(
        "linear_relu",
        linear_relu,
        lambda x, w, b: F.linear(x, w, b).relu(),
        samples=[
            tiny("rows", lambda d: [d(3, 5), d(4, 5), d(4)]),
            tiny("no bias, two batch axes", lambda d: [d(2, 3, 5), d(4, 5), None]),
            real("tokens", lambda d: [d(4, 17, 48), d(96, 48), d(96)]),
            bench("256x3072 to 1024", lambda d: [d(256, 3072), d(1024, 3072), d(1024)]),
            bench("4096x256 to 256", lambda d: [d(4096, 256), d(256, 256), d(256)]),
        ],
        rejects=[(lambda d: [d(3, 6), d(4, 5), d(4)], {})],
    ),
    Layer(
        "add_relu",
        add_relu,
        lambda a, b: (a + b).relu(),
        batched=(0, 1),
        maps=True,
        samples=[
            tiny("rows", lambda d: [d(3, 5), d(3, 5)]),
            real("map", lambda d: [d(4, 8, 6, 6), d(4, 8, 6, 6)]),
            bench("map 32x64x32x32", lambda d: [d(32, 64, 32, 32), d(32, 64, 32, 32)]),
        ],
        rejects=[(lambda d: [d(3, 5), d(5)], {})],
    ),
    Layer(
        "linear_cross_entropy",
        linear_cross_entropy,
        composed_loss,
        batched=(0, 2),
        samples=[
            tiny("rows", lambda d: [d(5, 4), d(3, 4), d.classes(3, 5)], rows=2),
            tiny("class 1 ignored", lambda d: [d(6, 4), d(3, 4), d.classes(3, 6)], rows=4, ignore_index=1),
            bench(
                "2048x256 to 16384 classes",
                lambda d: [d(2048, 256), d(16384, 256) / 16, d.classes(16384, 2048)],
            ),
        ],
        rejects=[
            (lambda d: [d(5, 4), d(3, 5), d.classes(3, 5)], {}),
            (lambda d: [d(5, 4), d(3, 4), d.classes(3, 5) + 7], {}),
        ],
    ),
    Layer(
        "point_mlp_max",
        point_mlp_max,
        composed_points,
        samples=[
            tiny("points", lambda d: [d(2, 7, 3), d(5, 3), d(5)]),
            real("points", lambda d: [d(3, 64, 16), d(32, 16), d(32)]),
            bench("32x1024 points, 128 to 1024", lambda d: [d(32, 1024, 128), d(1024, 128), d(1024)]),
        ],
        rejects=[(lambda d: [d(2, 3), d(5, 3), d(5)], {}), (lambda d: [d(2, 7, 3), d(5, 3), d(4)], {})],
    ),
]
