"""Normalisations."""

import torch.nn.functional as F

from ..batch_norm import batch_norm
from ..group_norm import group_norm
from ..layer_norm import layer_norm, rms_norm
from ..sync_batch_norm import sync_batch_norm
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
    Layer(
        "sync_batch_norm",  # in one process; tests/layers/test_sync_batch_norm.py runs it in two
        sync_batch_norm,
        F.batch_norm,
        constants=(1, 2),
        maps=True,
        samples=[
            tiny("training, map", lambda d: [d(3, 4, 3, 2), None, None, d(4), d(4)], training=True),
            tiny("training, no affine", lambda d: [d(2, 3, 5), None, None, None, None], training=True),
            real("training", lambda d: [d(4, 16, 8, 9), None, None, d(16), d(16)], training=True),
        ],
        rejects=[
            (lambda d: [d(1, 4), None, None, d(4), d(4)], {"training": True}),
            (lambda d: [d(3, 4), None, None, d(4), d(4)], {}),
        ],
    ),
    Layer(
        "layer_norm",
        lambda x, w, b, shape, eps=1e-5: layer_norm(x, shape, w, b, eps),
        lambda x, w, b, shape, eps=1e-5: F.layer_norm(x, shape, w, b, eps),
        samples=[
            tiny("rows", lambda d: [d(5, 7), d(7), d(7)], shape=(7,)),
            tiny("no affine", lambda d: [d(3, 2, 2), None, None], shape=(2, 2)),
            tiny("no bias, two axes", lambda d: [d(2, 3, 4), d(3, 4), None], shape=(3, 4), eps=1e-2),
            real("tokens", lambda d: [d(4, 17, 48), d(48), d(48)], shape=(48,)),
            real("far from zero", lambda d: [d(70, 48) + 20, d(48), d(48)], shape=(48,)),
            bench("tokens 32x65x192", lambda d: [d(32, 65, 192), d(192), d(192)], shape=(192,)),
            bench("tokens 8x197x768", lambda d: [d(8, 197, 768), d(768), d(768)], shape=(768,)),
        ],
        modules=[
            module("LayerNorm", lambda d: [d(2, 3, 5)], 5),
            module("LayerNorm", lambda d: [d(2, 3, 5)], (3, 5), 1e-3, bias=False),
            module("LayerNorm", lambda d: [d(2, 3, 5)], 5, elementwise_affine=False),
        ],
        rejects=[
            (lambda d: [d(2, 5), None, None], {"shape": (4,)}),
            (lambda d: [d(2, 5), d(4), None], {"shape": (5,)}),
        ],
    ),
    Layer(
        "rms_norm",
        lambda x, w, shape, eps=None: rms_norm(x, shape, w, eps),
        lambda x, w, shape, eps=None: F.rms_norm(x, shape, w, eps),
        autocast=False,
        samples=[
            tiny("rows", lambda d: [d(5, 7), d(7)], shape=(7,)),
            tiny("no weight, eps", lambda d: [d(3, 4), None], shape=(4,), eps=1e-2),
            real("tokens", lambda d: [d(4, 17, 48), d(48)], shape=(48,)),
            bench("tokens 32x65x192", lambda d: [d(32, 65, 192), d(192)], shape=(192,)),
            bench("tokens 8x197x768", lambda d: [d(8, 197, 768), d(768)], shape=(768,)),
        ],
        modules=[
            module("RMSNorm", lambda d: [d(2, 3, 5)], 5),
            module("RMSNorm", lambda d: [d(2, 5)], (5,), 1e-3),
        ],
        rejects=[(lambda d: [d(2, 5), d(4)], {"shape": (5,)})],
    ),
    Layer(
        "group_norm",
        lambda x, w, b, groups, eps=1e-5: group_norm(x, groups, w, b, eps),
        lambda x, w, b, groups, eps=1e-5: F.group_norm(x, groups, w, b, eps),
        maps=True,
        samples=[
            tiny("two groups", lambda d: [d(2, 4, 3, 2), d(4), d(4)], groups=2),
            tiny("one group, no affine", lambda d: [d(2, 3, 5), None, None], groups=1, eps=1e-2),
            tiny("every channel", lambda d: [d(2, 3, 4), d(3), None], groups=3),
            real("map", lambda d: [d(4, 16, 6, 5), d(16), d(16)], groups=4),
            bench("8 groups, 64 ch 32 px", lambda d: [d(32, 64, 32, 32), d(64), d(64)], groups=8),
        ],
        modules=[
            module("GroupNorm", lambda d: [d(2, 4, 3, 3)], 2, 4),
            module("GroupNorm", lambda d: [d(2, 4, 5)], 4, 4, 1e-3, affine=False),
        ],
        rejects=[
            (lambda d: [d(2, 4, 3), None, None], {"groups": 3}),
            (lambda d: [d(2, 4, 3), d(3), None], {"groups": 2}),
        ],
    ),
]
