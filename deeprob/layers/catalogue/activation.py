"""Elementwise non-linearities, and softmax."""

import torch.nn.functional as F

from ..relu import relu
from ._entry import Layer, bench, kink, module, real, tiny

LAYERS = [
    Layer(
        "relu",
        relu,
        F.relu,
        maps=True,
        samples=[
            tiny("matrix", lambda d: [d.nonzero(3, 7)]),
            tiny("map", lambda d: [d.nonzero(2, 3, 5, 3)]),
            kink("zeros", lambda d: [d.coarse(5, 7)]),
            real("map 4x16x8x8", lambda d: [d.nonzero(4, 16, 8, 8)]),
            bench("map 32x64x32x32", lambda d: [d(32, 64, 32, 32)]),
        ],
        modules=[module("ReLU", lambda d: [d(3, 5)]), module("ReLU", lambda d: [d(3, 5)], inplace=True)],
        rejects=[(lambda d: [d.classes(3, 5)], {})],
    ),
]
