"""Normalisations."""

import torch.nn.functional as F

from ..batch_norm import batch_norm
from ._entry import Layer, bench, module, real, tiny

LAYERS = [
    Layer(
        "batch_norm",
        batch_norm,
        F.batch_norm,
        constants=(1, 2),
        maps=True,
        samples=[
            tiny("training, map", lambda d: [d(3, 4, 3, 2), None, None, d(4), d(4)], training=True),
            tiny("training, rows", lambda d: [d(7, 5), None, None, d(5), d(5)], training=True),
            tiny("training, no affine", lambda d: [d(2, 3, 5), None, None, None, None], training=True),
            tiny("evaluation", lambda d: [d(3, 4, 2, 3), d(4), d.positive(4), d(4), d(4)], eps=1e-3),
            tiny("evaluation, no affine", lambda d: [d(3, 4), d(4), d.positive(4), None, None]),
            real("training", lambda d: [d(4, 16, 8, 9), None, None, d(16), d(16)], training=True),
            real("far from zero", lambda d: [d(4, 8, 8, 8) + 30, None, None, d(8), d(8)], training=True),
            bench("64 ch 32 px", lambda d: [d(32, 64, 32, 32), None, None, d(64), d(64)], training=True),
            bench("256 ch 8 px", lambda d: [d(32, 256, 8, 8), None, None, d(256), d(256)], training=True),
            bench(
                "evaluation 64 ch 32 px", lambda d: [d(32, 64, 32, 32), d(64), d.positive(64), d(64), d(64)]
            ),
            bench("rows 4096x256", lambda d: [d(4096, 256), None, None, d(256), d(256)], training=True),
        ],
        modules=[
            module("BatchNorm2d", lambda d: [d(3, 4, 3, 2)], 4),
            module("BatchNorm2d", lambda d: [d(3, 4, 3, 2)], 4, momentum=None),
            module("BatchNorm2d", lambda d: [d(3, 4, 3, 2)], 4, affine=False, track_running_stats=False),
            module("BatchNorm1d", lambda d: [d(6, 4)], 4, eps=1e-3, momentum=0.3),
            module("BatchNorm1d", lambda d: [d(3, 4, 5)], 4),
        ],
        rejects=[
            (lambda d: [d(1, 4), None, None, d(4), d(4)], {"training": True}),
            (lambda d: [d(3, 4), None, None, d(3), d(3)], {"training": True}),
            (lambda d: [d(3, 4), None, None, d(4), d(4)], {}),
        ],
    ),
]
