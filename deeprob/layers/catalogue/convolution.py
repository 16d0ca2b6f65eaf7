"""Convolutions."""

import torch.nn.functional as F

from ..conv import conv1d, conv2d
from ..conv_transpose import conv_transpose2d
from ._entry import Inputs, Layer, bench, module, real, tiny


def maps(*x: int, weight: tuple[int, ...], bias: bool = True) -> Inputs:
    """Draw an input, a kernel scaled to keep the output near one, and a bias of the kernel's first axis."""
    fan_in = weight[1] * weight[2] * (weight[3] if len(weight) == 4 else 1)
    return lambda d: [d(*x), d(*weight) / fan_in**0.5, d(weight[0]) if bias else None]


def transposed(*x: int, weight: tuple[int, ...], bias: int | None) -> Inputs:
    """Draw an input, a kernel and a bias for the transposed convolution."""
    return lambda d: [d(*x), d(*weight) / weight[0] ** 0.5, None if bias is None else d(bias)]


LAYERS = [
    Layer(
        "conv2d",
        conv2d,
        F.conv2d,
        maps=True,
        samples=[
            tiny("3x3", maps(2, 3, 5, 4, weight=(4, 3, 3, 3)), padding=1),
            tiny(
                "3x2, stride 2, padding (2, 0)",
                maps(2, 2, 6, 5, weight=(3, 2, 3, 2)),
                stride=2,
                padding=(2, 0),
            ),
            tiny("dilation 2", maps(2, 2, 7, 6, weight=(2, 2, 2, 3), bias=False), dilation=2, padding=1),
            tiny("two groups, stride (1, 2)", maps(2, 4, 4, 5, weight=(2, 2, 3, 3)), groups=2, stride=(1, 2)),
            tiny("depthwise", maps(2, 3, 4, 5, weight=(6, 1, 2, 2)), groups=3),
            tiny("1x1", maps(2, 3, 4, 5, weight=(4, 3, 1, 1))),
            tiny("1x1, stride 2", maps(2, 3, 4, 5, weight=(4, 3, 1, 1)), stride=2),
            tiny("1x1, padding 1", maps(2, 3, 3, 2, weight=(2, 3, 1, 1)), padding=1),
            tiny("same, even window", maps(2, 2, 5, 4, weight=(2, 2, 2, 4)), padding="same"),
            real("3x3", maps(3, 8, 9, 8, weight=(8, 8, 3, 3)), padding=1),
            real("stride 2", maps(3, 8, 10, 9, weight=(12, 8, 3, 3), bias=False), padding=1, stride=2),
            real("stem 7x7", maps(2, 3, 17, 16, weight=(8, 3, 7, 7), bias=False), padding=3, stride=2),
            bench("64 ch 32 px", maps(32, 64, 32, 32, weight=(64, 64, 3, 3), bias=False), padding=1),
            bench("128 ch 16 px", maps(32, 128, 16, 16, weight=(128, 128, 3, 3), bias=False), padding=1),
            bench("256 ch 8 px", maps(32, 256, 8, 8, weight=(256, 256, 3, 3), bias=False), padding=1),
            bench("512 ch 4 px", maps(32, 512, 4, 4, weight=(512, 512, 3, 3), bias=False), padding=1),
            bench(
                "64 to 128 ch 32 px, stride 2",
                maps(32, 64, 32, 32, weight=(128, 64, 3, 3), bias=False),
                padding=1,
                stride=2,
            ),
            bench("1x1 256 ch 16 px", maps(32, 256, 16, 16, weight=(256, 256, 1, 1), bias=False)),
            bench("1x1 64 to 256 ch 32 px", maps(32, 64, 32, 32, weight=(256, 64, 1, 1), bias=False)),
            bench(
                "1x1 64 to 128 ch 32 px, stride 2",
                maps(32, 64, 32, 32, weight=(128, 64, 1, 1), bias=False),
                stride=2,
            ),
            real(
                "a kernel a channel",
                maps(3, 8, 9, 7, weight=(8, 1, 3, 2)),
                padding=(2, 1),
                dilation=2,
                groups=8,
            ),
            real("a kernel a channel, stride 2", maps(3, 8, 9, 7, weight=(8, 1, 3, 3)), stride=2, groups=8),
            bench(
                "depthwise 64 ch 32 px",
                maps(32, 64, 32, 32, weight=(64, 1, 3, 3), bias=False),
                padding=1,
                groups=64,
            ),
        ],
        modules=[
            module("Conv2d", lambda d: [d(2, 3, 5, 5)], 3, 4, 3, padding=1),
            module("Conv2d", lambda d: [d(2, 4, 6, 5)], 4, 6, (3, 2), 2, (1, 0), 1, 2, False),
            module("Conv2d", lambda d: [d(2, 3, 6, 5)], 3, 4, 2, padding="same", dilation=3),
            module("Conv2d", lambda d: [d(3, 6, 5)], 3, 4, 3),
        ],
        rejects=[
            (maps(2, 4, 5, 4, weight=(4, 3, 3, 3)), {}),
            (maps(2, 3, 2, 2, weight=(4, 3, 3, 3)), {}),
            (lambda d: [d(2, 3, 5, 5), d(4, 3, 3, 3), d(3)], {}),
            (lambda d: [d(2, 3, 5, 5), d(4, 3, 3, 3).float()], {}),
            (maps(2, 3, 5, 5, weight=(4, 3, 3, 3)), {"padding": "same", "stride": 2}),
            (maps(2, 3, 5, 5, weight=(4, 3, 3, 3)), {"padding": "reflect"}),
        ],
    ),
    Layer(
        "conv2d stem",
        conv2d,
        F.conv2d,
        constants=(0,),  # nobody differentiates the pictures
        maps=True,
        samples=[
            tiny("3x3", maps(2, 3, 5, 4, weight=(4, 3, 3, 3)), padding=1),
            real("3x3, larger", maps(5, 3, 19, 20, weight=(8, 3, 3, 3), bias=False), padding=2, dilation=2),
            real("7x7, stride 2", maps(3, 3, 34, 37, weight=(8, 3, 7, 7)), padding=3, stride=2),
            bench("3 to 64 ch 32 px", maps(32, 3, 32, 32, weight=(64, 3, 3, 3), bias=False), padding=1),
            bench(
                "7x7 3 to 64 ch 128 px, stride 2",
                maps(32, 3, 128, 128, weight=(64, 3, 7, 7), bias=False),
                padding=3,
                stride=2,
            ),
        ],
        rejects=[(maps(2, 4, 5, 4, weight=(4, 3, 3, 3)), {})],
    ),
    Layer(
        "conv1d",
        conv1d,
        F.conv1d,
        maps=True,
        samples=[
            tiny("stride 2", maps(2, 3, 9, weight=(4, 3, 3)), stride=2, padding=1),
            tiny("groups, dilation 2", maps(2, 4, 8, weight=(6, 2, 3), bias=False), groups=2, dilation=2),
            tiny("same, even window", maps(2, 2, 7, weight=(3, 2, 4)), padding="same"),
            real("width 1", maps(4, 16, 33, weight=(24, 16, 1))),
            bench("64 to 128 ch, 1024 points", maps(32, 64, 1024, weight=(128, 64, 1))),
            bench("width 5, 64 ch, 1024 samples", maps(32, 64, 1024, weight=(64, 64, 5)), padding=2),
        ],
        modules=[
            module("Conv1d", lambda d: [d(2, 3, 7)], 3, 4, 3, padding=1),
            module("Conv1d", lambda d: [d(3, 7)], 3, 4, 3, stride=2, bias=False),
        ],
        rejects=[(maps(2, 4, 9, weight=(4, 3, 3)), {}), (lambda d: [d(9), d(4, 3, 3)], {})],
    ),
    Layer(
        "conv_transpose2d",
        conv_transpose2d,
        F.conv_transpose2d,
        maps=True,
        samples=[
            tiny("2x2, stride 2", transposed(2, 3, 3, 4, weight=(3, 2, 2, 2), bias=2), stride=2),
            tiny(
                "3x3, stride 2, output padding",
                transposed(2, 3, 3, 4, weight=(3, 2, 3, 3), bias=None),
                stride=2,
                padding=1,
                output_padding=(1, 0),
            ),
            tiny(
                "groups, dilation",
                transposed(2, 4, 3, 3, weight=(4, 3, 2, 3), bias=6),
                groups=2,
                dilation=(1, 2),
            ),
            tiny(
                "output padding of a stride and more",
                transposed(2, 2, 3, 3, weight=(2, 2, 2, 3), bias=2),
                stride=(1, 2),
                padding=1,
                output_padding=(2, 3),
                dilation=(3, 4),
            ),
            real("4x4, stride 2", transposed(2, 8, 7, 6, weight=(8, 6, 4, 4), bias=6), stride=2, padding=1),
            bench(
                "2x2, stride 2, 128 to 64 ch 16 px",
                transposed(32, 128, 16, 16, weight=(128, 64, 2, 2), bias=64),
                stride=2,
            ),
            bench(
                "4x4, stride 2, 64 ch 16 px",
                transposed(32, 64, 16, 16, weight=(64, 64, 4, 4), bias=64),
                stride=2,
                padding=1,
            ),
        ],
        modules=[
            module(
                "ConvTranspose2d", lambda d: [d(2, 3, 4, 5)], 3, 4, 3, stride=2, padding=1, output_padding=1
            )
        ],
        rejects=[
            (transposed(2, 4, 3, 4, weight=(3, 2, 2, 2), bias=2), {}),
            (transposed(2, 3, 3, 4, weight=(3, 2, 2, 2), bias=3), {}),
            (transposed(2, 3, 3, 4, weight=(3, 2, 2, 2), bias=2), {"stride": 2, "output_padding": (0, 2)}),
        ],
    ),
]
