"""Reading an image elsewhere than at its pixels."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..grid_sample import grid_sample
from ..interpolate import interpolate
from ..roi_align import roi_align
from ..roi_pool import roi_pool
from ._entry import Draw, Layer, bench, kink, module, real, tiny


def _grid(d: Draw, *shape: int) -> Tensor:
    """Draw positions in and a little around the image, none of them on a line of pixels or clipped there."""
    return d.uniform(*shape, 2, low=-1.2, high=1.2)


def _lattice(d: Draw) -> Tensor:
    """Hit pixels, edges and corners exactly."""
    return d.coarse(2, 4, 5, 2) / 2


def _reference(x: Tensor, grid: Tensor, mode: str = "bilinear", **options: Any) -> Tensor:
    return F.grid_sample(x, grid, mode, **{"align_corners": False, **options})


def _boxes(d: Draw, count: int, num_samples: int, size: float) -> Tensor:
    """Draw (sample, x1, y1, x2, y2): some reach out of the image, none has an edge on a line of pixels."""
    sample = d.classes(num_samples, count, 1).to(d.dtype)
    low = d.uniform(count, 2, low=-0.15 * size, high=0.7 * size)
    return torch.cat([sample, low, low + d.uniform(count, 2, low=0.2 * size, high=0.6 * size)], 1)


def sampled_roi_align(
    x: Tensor,
    boxes: Tensor,
    output_size: int,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """RoIAlign box by box: read x by torch's grid_sample at all positions, and average them a bin."""
    height, width = x.shape[2:]
    pooled = []
    for sample, *edges in boxes.tolist():
        x1, y1, x2, y2 = (e * spatial_scale - 0.5 * aligned for e in edges)
        w, h = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1.0), max(y2 - y1, 1.0))
        m, n = (sampling_ratio if sampling_ratio > 0 else math.ceil(e / output_size) for e in (h, w))
        py = y1 + (torch.arange(output_size * m, dtype=torch.float64) + 0.5) * h / (output_size * m)
        px = x1 + (torch.arange(output_size * n, dtype=torch.float64) + 0.5) * w / (output_size * n)
        py, px = torch.meshgrid(py.to(x), px.to(x), indexing="ij")
        seen = (py >= -1) & (py <= height) & (px >= -1) & (px <= width)
        py, px = py.clamp(0, height - 1), px.clamp(0, width - 1)
        grid = torch.stack([(2 * px + 1) / width - 1, (2 * py + 1) / height - 1], -1)
        read = F.grid_sample(x[int(sample)][None], grid[None], align_corners=False) * seen
        pooled.append(F.avg_pool2d(read, (m, n))[0])
    return torch.stack(pooled)


def sliced_roi_pool(x: Tensor, boxes: Tensor, output_size: int, spatial_scale: float = 1.0) -> Tensor:
    """RoIPool bin by bin: slice, flatten, take the largest."""
    height, width = x.shape[2:]
    pooled = []
    for sample, *edges in boxes.tolist():
        x1, y1, x2, y2 = (math.floor(e * spatial_scale + 0.5) for e in edges)
        h, w = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        bins = []
        for p in range(output_size):
            top = min(max(math.floor(p * h / output_size) + y1, 0), height)
            bottom = min(max(math.ceil((p + 1) * h / output_size) + y1, 0), height)
            for q in range(output_size):
                left = min(max(math.floor(q * w / output_size) + x1, 0), width)
                right = min(max(math.ceil((q + 1) * w / output_size) + x1, 0), width)
                pixels = x[int(sample), :, top:bottom, left:right].flatten(1)
                bins.append(
                    pixels.gather(1, pixels.argmax(1)[:, None])[:, 0] if pixels.numel() else 0 * x[0, :, 0, 0]
                )
        pooled.append(torch.stack(bins, 1).reshape(-1, output_size, output_size))
    return torch.stack(pooled)


LAYERS = [
    Layer(
        "interpolate",
        interpolate,
        F.interpolate,
        samples=[
            tiny("nearest", lambda d: [d(2, 2, 3, 4)], size=(5, 2)),
            tiny("nearest, scale", lambda d: [d(1, 2, 4, 3)], scale_factor=1.7),
            tiny("bilinear up", lambda d: [d(2, 1, 3, 4)], scale_factor=2, mode="bilinear"),
            tiny("bilinear, odd scales", lambda d: [d(2, 1, 5, 4)], scale_factor=(1.3, 0.6), mode="bilinear"),
            tiny("corners", lambda d: [d(2, 1, 3, 4)], size=(4, 5), mode="bilinear", align_corners=True),
            tiny(
                "corners, one pixel",
                lambda d: [d(2, 2, 1, 4)],
                size=(3, 1),
                mode="bilinear",
                align_corners=True,
            ),
            tiny("a signal", lambda d: [d(2, 2, 5)], size=3, mode="linear"),
            tiny("bicubic", lambda d: [d(1, 2, 3, 4)], size=(5, 2), mode="bicubic"),
            real("up", lambda d: [d(1, 2, 17, 10)], size=(40, 23), mode="bilinear"),
            real("down", lambda d: [d(1, 2, 40, 23)], size=(17, 10), mode="nearest"),
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
            (lambda d: [d(4, 5)], {"size": 3}),
            (lambda d: [d(3, 4, 5)], {"size": 3, "mode": "bilinear"}),
            (lambda d: [d(2, 3, 4, 5)], {"size": 3, "antialias": True}),
            (lambda d: [d(2, 3, 4, 5)], {"size": 3, "recompute_scale_factor": True}),
            (lambda d: [d(2, 3, 4, 5)], {}),
            (lambda d: [d(2, 3, 4, 5)], {"size": 3, "scale_factor": 2}),
            (lambda d: [d(2, 3, 4, 5)], {"size": (3, 4, 5)}),
            (lambda d: [d(2, 3, 4, 5)], {"size": 0}),
            (lambda d: [d(2, 3, 4, 5)], {"size": 3, "mode": "trilinear"}),
            (lambda d: [d(2, 3, 4, 5)], {"size": 3, "align_corners": True}),
            (lambda d: [d.classes(9, 2, 3, 4, 5)], {"size": 3}),
        ],
    ),
    Layer(
        "grid_sample",
        grid_sample,
        _reference,
        samples=[
            tiny("bilinear", lambda d: [d(2, 2, 3, 4), _grid(d, 2, 3, 1)]),
            tiny("border", lambda d: [d(2, 1, 4, 3), _grid(d, 2, 2, 2)], padding_mode="border"),
            tiny("corners", lambda d: [d(2, 1, 4, 3), _grid(d, 2, 2, 2)], align_corners=True),
            tiny("nearest", lambda d: [d(2, 1, 4, 3), _grid(d, 2, 2, 2)], mode="nearest"),
            kink("on pixels", lambda d: [d(2, 3, 3, 5), _lattice(d)], align_corners=True),
            kink("on pixels, border", lambda d: [d(2, 3, 3, 5), _lattice(d)], padding_mode="border"),
            kink("nearest, halfway", lambda d: [d(2, 3, 2, 4), _lattice(d)], mode="nearest"),
            real("a map", lambda d: [d(2, 9, 9, 10), _grid(d, 2, 5, 6)]),
            real("a picture", lambda d: [d(2, 3, 9, 10), _grid(d, 2, 15, 6)]),
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
    Layer(
        "roi_align",
        roi_align,
        sampled_roi_align,
        samples=[
            tiny(
                "aligned",
                lambda d: [d(2, 2, 5, 6), _boxes(d, 3, 2, 5)],
                output_size=2,
                sampling_ratio=2,
                aligned=True,
            ),
            tiny(
                "first publication",
                lambda d: [d(2, 2, 5, 6), _boxes(d, 3, 2, 5)],
                output_size=2,
                sampling_ratio=3,
            ),
            tiny(
                "a sample a pixel",
                lambda d: [d(1, 2, 6, 6), _boxes(d, 3, 1, 12)],
                output_size=2,
                spatial_scale=0.5,
            ),
            tiny(
                "tiny boxes", lambda d: [d(2, 2, 5, 6), _boxes(d, 3, 2, 1)], output_size=2, sampling_ratio=1
            ),
            real(
                "a pyramid level",
                lambda d: [d(2, 8, 16, 20), _boxes(d, 10, 2, 64)],
                output_size=3,
                sampling_ratio=2,
                spatial_scale=0.25,
                aligned=True,
            ),
            bench(
                "64 boxes on 2x256x50x50",
                lambda d: [d(2, 256, 50, 50), _boxes(d, 64, 2, 800)],
                output_size=7,
                sampling_ratio=2,
                spatial_scale=1 / 16,
                aligned=True,
            ),
        ],
        rejects=[
            (lambda d: [d(2, 3, 5), _boxes(d, 3, 2, 5)], {"output_size": 2}),
            (lambda d: [d(2, 3, 5, 5), d(3, 4)], {"output_size": 2}),
            (lambda d: [d(2, 3, 5, 5), 2 + _boxes(d, 3, 2, 5)], {"output_size": 2}),
            (lambda d: [d(2, 3, 5, 5), _boxes(d, 3, 2, 5).float()], {"output_size": 2}),
            (lambda d: [d(2, 3, 5, 5), _boxes(d, 3, 2, 5)], {"output_size": 0}),
        ],
        constants=(1,),
        unrolled=True,
    ),
    Layer(
        "roi_pool",
        roi_pool,
        sliced_roi_pool,
        samples=[
            tiny("bins", lambda d: [d.distinct(2, 2, 5, 6), _boxes(d, 3, 2, 5)], output_size=2),
            tiny(
                "more bins than pixels", lambda d: [d.distinct(1, 2, 5, 6), _boxes(d, 2, 1, 5)], output_size=4
            ),
            tiny("empty bins", lambda d: [d.distinct(1, 2, 4, 4), 2 * _boxes(d, 2, 1, 5)], output_size=3),
            kink("ties", lambda d: [d.coarse(2, 3, 6, 6), _boxes(d, 4, 2, 6)], output_size=2),
            real(
                "a stride of 4",
                lambda d: [d.distinct(2, 8, 16, 20), _boxes(d, 10, 2, 64)],
                output_size=3,
                spatial_scale=0.25,
            ),
            bench(
                "64 boxes on 2x256x50x50",
                lambda d: [d(2, 256, 50, 50), _boxes(d, 64, 2, 800)],
                output_size=7,
                spatial_scale=1 / 16,
            ),
        ],
        rejects=[
            (lambda d: [d(2, 3, 5), _boxes(d, 3, 2, 5)], {"output_size": 2}),
            (lambda d: [d(2, 3, 5, 5), d(3, 4)], {"output_size": 2}),
            (lambda d: [d(2, 3, 5, 5), 2 + _boxes(d, 3, 2, 5)], {"output_size": 2}),
            (lambda d: [d(2, 3, 5, 5), _boxes(d, 3, 2, 5)], {"output_size": (3, 0)}),
        ],
        constants=(1,),
        unrolled=True,
    ),
]
