"""Elementwise non-linearities, and softmax."""

import torch.nn.functional as F

from ..gelu import gelu, silu
from ..relu import leaky_relu, relu
from ..softmax import log_softmax, softmax
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
    Layer(
        "leaky_relu",
        leaky_relu,
        F.leaky_relu,
        samples=[
            tiny("matrix", lambda d: [d.nonzero(3, 7)]),
            tiny("steep", lambda d: [d.nonzero(2, 3, 4)], negative_slope=0.3),
            kink("zeros", lambda d: [d.coarse(5, 7)]),
            real("map", lambda d: [d.nonzero(4, 17, 8, 8)]),
            bench("map 32x64x32x32", lambda d: [d(32, 64, 32, 32)]),
        ],
        modules=[module("LeakyReLU", lambda d: [d(3, 5)], 0.2)],
        rejects=[(lambda d: [d.classes(3, 5)], {})],
    ),
    Layer(
        "gelu",
        gelu,
        F.gelu,
        samples=[
            tiny("exact", lambda d: [d(3, 7)]),
            tiny("tanh", lambda d: [d(3, 7)], approximate="tanh"),
            tiny("far", lambda d: [d(5) * 10]),
            real("tokens", lambda d: [d(4, 17, 48)]),
            bench("tokens 32x65x768", lambda d: [d(32, 65, 768)]),
            bench("tanh, tokens 32x65x768", lambda d: [d(32, 65, 768)], approximate="tanh"),
        ],
        modules=[
            module("GELU", lambda d: [d(3, 5)]),
            module("GELU", lambda d: [d(3, 5)], approximate="tanh"),
        ],
        rejects=[(lambda d: [d(3, 5)], {"approximate": "sigmoid"})],
    ),
    Layer(
        "silu",
        silu,
        F.silu,
        samples=[
            tiny("matrix", lambda d: [d(3, 7)]),
            real("map", lambda d: [d(4, 8, 6, 6)]),
            bench("tokens 32x65x768", lambda d: [d(32, 65, 768)]),
        ],
        modules=[module("SiLU", lambda d: [d(3, 5)])],
        rejects=[(lambda d: [d.classes(3, 5)], {})],
    ),
    Layer(
        "softmax",
        softmax,
        F.softmax,
        samples=[
            tiny("last axis", lambda d: [d(3, 7)], dim=-1),
            tiny("middle axis", lambda d: [d(2, 5, 3)], dim=1),
            real("heads", lambda d: [d(4, 3, 19, 19)], dim=-1),
            bench("heads 32x3x65x65", lambda d: [d(32, 3, 65, 65)], dim=-1),
            real("rows", lambda d: [d(5, 1000) * 5], dim=-1),
            bench("rows 2048x1000", lambda d: [d(2048, 1000)], dim=-1),
        ],
        modules=[module("Softmax", lambda d: [d(3, 5)], dim=1)],
        rejects=[(lambda d: [d(3, 5)], {"dim": 2})],
    ),
    Layer(
        "log_softmax",
        log_softmax,
        F.log_softmax,
        samples=[
            tiny("last axis", lambda d: [d(3, 7)], dim=-1),
            tiny("middle axis", lambda d: [d(2, 5, 3)], dim=1),
            real("rows", lambda d: [d(5, 1000) * 5], dim=-1),
            bench("rows 2048x1000", lambda d: [d(2048, 1000)], dim=-1),
        ],
        modules=[module("LogSoftmax", lambda d: [d(3, 5)], dim=1)],
        rejects=[(lambda d: [d(3, 5)], {"dim": -3})],
    ),
]
