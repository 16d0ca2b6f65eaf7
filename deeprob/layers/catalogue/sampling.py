"""Reading an image elsewhere than at its pixels."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..grid_sample import grid_sample
from ..interpolate import interpolate
from ._entry import Draw, Layer, bench, kink, module, real, tiny


def _grid(d: Draw, *shape: int) -> Tensor:
    """Draw positions in and a little around the image, none of them on a line of pixels or clipped there."""
    return d.uniform(*shape, 2, low=-1.2, high=1.2)


def _lattice(d: Draw) -> Tensor:
    """Hit pixels, edges and corners exactly."""
    return d.coarse(2, 4, 5, 2) / 2


def _reference(x: Tensor, grid: Tensor, mode: str = "bilinear", **options: Any) -> Tensor:
    return F.grid_sample(x, grid, mode, **{"align_corners": False, **options})


LAYERS = [
    Layer(
        "interpolate",
        interpolate,
        F.interpolate,
        samples=[
            tiny("nearest", lambda d: [d(2, 3, 4, 5)], size=(7, 3)),
            tiny("nearest, scale", lambda d: [d(1, 2, 5, 3)], scale_factor=1.7),
            tiny("bilinear up", lambda d: [d(2, 2, 3, 4)], scale_factor=2, mode="bilinear"),
            tiny("bilinear, odd scales", lambda d: [d(2, 2, 5, 4)], scale_factor=(1.3, 0.6), mode="bilinear"),
            tiny("corners", lambda d: [d(2, 2, 3, 4)], size=(5, 7), mode="bilinear", align_corners=True),
            tiny(
                "corners, one pixel",
                lambda d: [d(2, 2, 1, 4)],
                size=(3, 1),
                mode="bilinear",
                align_corners=True,
            ),
            real("up", lambda d: [d(1, 2, 70, 40)], size=(150, 90), mode="bilinear"),
            real("down", lambda d: [d(1, 2, 150, 90)], size=(70, 40), mode="nearest"),
            bench("8x64x32x32 by 2", lambda d: [d(8, 64, 32, 32)], scale_factor=2, mode="bilinear"),
            bench("8x64x32x32 by 2, nearest", lambda d: [d(8, 64, 32, 32)], scale_factor=2, mode="nearest"),
            bench("2x21x60x80 by 8", lambda d: [d(2, 21, 60, 80)], scale_factor=8, mode="bilinear"),
            bench("1x3x480x640 by 1/2", lambda d: [d(1, 3, 480, 640)], scale_factor=0.5, mode="bilinear"),
        ],
        modules=[
            module("Upsample", lambda d: [d(2, 3, 4, 5)], scale_factor=2),
            module("Upsample", lambda d: [d(2, 3, 4, 5)], size=(3, 7), mode="bilinear", align_corners=True),
        ],
        rejects=[
            (lambda d: [d(3, 4, 5)], {"size": 3}),
            (lambda d: [d(2, 3, 4, 5)], {}),
            (lambda d: [d(2, 3, 4, 5)], {"size": 3, "scale_factor": 2}),
            (lambda d: [d(2, 3, 4, 5)], {"size": (3, 4, 5)}),
            (lambda d: [d(2, 3, 4, 5)], {"size": 0}),
            (lambda d: [d(2, 3, 4, 5)], {"size": 3, "mode": "bicubic"}),
            (lambda d: [d(2, 3, 4, 5)], {"size": 3, "align_corners": True}),
            (lambda d: [d.classes(9, 2, 3, 4, 5)], {"size": 3}),
        ],
    ),
    Layer(
        "grid_sample",
        grid_sample,
        _reference,
        samples=[
            tiny("bilinear", lambda d: [d(2, 3, 4, 5), _grid(d, 2, 3, 2)]),
            tiny("border", lambda d: [d(2, 2, 4, 3), _grid(d, 2, 3, 3)], padding_mode="border"),
            tiny("corners", lambda d: [d(2, 2, 4, 3), _grid(d, 2, 3, 3)], align_corners=True),
            tiny("nearest", lambda d: [d(2, 2, 4, 3), _grid(d, 2, 3, 3)], mode="nearest"),
            kink("on pixels", lambda d: [d(2, 3, 3, 5), _lattice(d)], align_corners=True),
            kink("on pixels, border", lambda d: [d(2, 3, 3, 5), _lattice(d)], padding_mode="border"),
            kink("nearest, halfway", lambda d: [d(2, 3, 2, 4), _lattice(d)], mode="nearest"),
            real("a map", lambda d: [d(2, 16, 12, 10), _grid(d, 2, 8, 8)]),
            bench("8x32x32x32", lambda d: [d(8, 32, 32, 32), _grid(d, 8, 32, 32)]),
            bench("2x3x240x320", lambda d: [d(2, 3, 240, 320), _grid(d, 2, 240, 320)]),
        ],
        rejects=[
            (lambda d: [d(2, 3, 4), _grid(d, 2, 3, 3)], {}),
            (lambda d: [d(2, 3, 4, 5), d(2, 3, 3, 3)], {}),
            (lambda d: [d(2, 3, 4, 5), _grid(d, 1, 3, 3)], {}),
            (lambda d: [d(2, 3, 4, 5), _grid(d, 2, 3, 3).float()], {}),
            (lambda d: [d(2, 3, 4, 5), _grid(d, 2, 3, 3)], {"mode": "bicubic"}),
            (lambda d: [d(2, 3, 4, 5), _grid(d, 2, 3, 3)], {"padding_mode": "reflection"}),
        ],
        batched=(0, 1),
    ),
]
