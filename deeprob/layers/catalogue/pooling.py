"""Pooling."""

import torch.nn.functional as F

from ..avg_pool import adaptive_avg_pool2d, avg_pool2d
from ..max_pool import max_pool2d
from ._entry import Layer, bench, kink, module, real, tiny

LAYERS = [
    Layer(
        "max_pool2d",
        max_pool2d,
        F.max_pool2d,
        maps=True,
        samples=[
            tiny("2x2", lambda d: [d.distinct(2, 3, 5, 4)], kernel_size=2),
            tiny("3x3, stride 2", lambda d: [d.distinct(2, 2, 5, 7)], kernel_size=3, stride=2, padding=1),
            tiny("3x2, stride (1, 2)", lambda d: [d.distinct(2, 2, 5, 4)], kernel_size=(3, 2), stride=(1, 2)),
            tiny("ceil", lambda d: [d.distinct(2, 2, 6, 5)], kernel_size=3, stride=2, ceil_mode=True),
            tiny("dilation 2", lambda d: [d.distinct(2, 2, 6, 5)], kernel_size=2, dilation=2),
            kink("ties, 2x2", lambda d: [d.coarse(2, 3, 6, 8)], kernel_size=2),
            kink("ties, 3x3", lambda d: [d.coarse(2, 3, 7, 9)], kernel_size=3, stride=2, padding=1),
            real("2x2", lambda d: [d.distinct(5, 8, 16, 14)], kernel_size=2),
            real("3x3", lambda d: [d.distinct(5, 8, 15, 16)], kernel_size=3, stride=2, padding=1),
            bench("2x2, 64 ch 32 px", lambda d: [d(32, 64, 32, 32)], kernel_size=2),
            bench(
                "3x3 stride 2, 64 ch 64 px", lambda d: [d(32, 64, 64, 64)], kernel_size=3, stride=2, padding=1
            ),
        ],
        modules=[
            module("MaxPool2d", lambda d: [d(2, 3, 5, 6)], 2),
            module("MaxPool2d", lambda d: [d(3, 5, 6)], 3, 2, 1, ceil_mode=True),
        ],
        rejects=[
            (lambda d: [d(5, 4)], {"kernel_size": 2}),
            (lambda d: [d(2, 3, 5, 4)], {"kernel_size": 2, "padding": 2}),
            (lambda d: [d(2, 3, 2, 4)], {"kernel_size": 3}),
        ],
    ),
    Layer(
        "avg_pool2d",
        avg_pool2d,
        F.avg_pool2d,
        maps=True,
        samples=[
            tiny("2x2", lambda d: [d(2, 3, 5, 4)], kernel_size=2),
            tiny("3x3, padded", lambda d: [d(2, 2, 5, 7)], kernel_size=3, stride=2, padding=1),
            tiny(
                "padding not counted, ceil",
                lambda d: [d(2, 2, 6, 5)],
                kernel_size=(3, 2),
                stride=2,
                padding=1,
                ceil_mode=True,
                count_include_pad=False,
            ),
            tiny("ceil", lambda d: [d(2, 2, 6, 5)], kernel_size=3, stride=2, padding=1, ceil_mode=True),
            tiny("sums", lambda d: [d(2, 2, 5, 4)], kernel_size=2, divisor_override=1),
            real("2x2", lambda d: [d(5, 8, 16, 14)], kernel_size=2),
            bench("2x2, 64 ch 32 px", lambda d: [d(32, 64, 32, 32)], kernel_size=2),
        ],
        modules=[module("AvgPool2d", lambda d: [d(2, 3, 5, 6)], 3, 2, 1, count_include_pad=False)],
        rejects=[
            (lambda d: [d(2, 3, 2, 4)], {"kernel_size": 3}),
            (lambda d: [d(2, 3, 2, 4)], {"kernel_size": 2, "divisor_override": 0}),
        ],
    ),
    Layer(
        "adaptive_avg_pool2d",
        adaptive_avg_pool2d,
        F.adaptive_avg_pool2d,
        maps=True,
        samples=[
            tiny("global", lambda d: [d(2, 3, 5, 4)], output_size=1),
            tiny("bins that overlap", lambda d: [d(2, 3, 5, 4)], output_size=(3, 2)),
            tiny("one side kept", lambda d: [d(2, 2, 5, 3)], output_size=(2, None)),
            real("global", lambda d: [d(4, 16, 8, 7)], output_size=1),
            bench("global, 512 ch 4 px", lambda d: [d(32, 512, 4, 4)], output_size=1),
            bench("global, 256 ch 16 px", lambda d: [d(32, 256, 16, 16)], output_size=1),
            bench("6x6, 256 ch 13 px", lambda d: [d(32, 256, 13, 13)], output_size=6),
        ],
        modules=[
            module("AdaptiveAvgPool2d", lambda d: [d(2, 3, 5, 6)], 1),
            module("AdaptiveAvgPool2d", lambda d: [d(3, 5, 6)], (2, 4)),
        ],
        rejects=[(lambda d: [d(5, 4)], {"output_size": 1})],
    ),
]
