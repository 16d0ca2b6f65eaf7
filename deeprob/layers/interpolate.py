"""Resizing an image, nearest, bilinear or bicubic: one sparse matrix an axis.

    Y = A X B^T          X (N, C, H, W)   Y (N, C, H', W')   A (H', H)   B (W', W)

    dX = A^T dY B        each pixel collects from the outputs that read it, by the weights they read it with

    row o of A reads the input at position p, in pixels, between pixel i = floor(p) and the next:
        A[o, i] = 1 - f,  A[o, i + 1] = f,  f = p - i
        align_corners    p = o (size - 1) / (size' - 1)               corner pixels keep their centres
        else             p = (o + 1/2) size / size' - 1/2, clipped    corner pixels keep their outer edges
        nearest          i = floor(o size / size'),  f = 0
        nearest-exact    i = floor((o + 1/2) size / size'),  f = 0

    bicubic: four pixels about p, not clipped, with weights k(p - i - j), j = -1 to 2; outside is the border
        k(d) = (a + 2) |d|^3 - (a + 3) |d|^2 + 1 up to 1, a (|d|^3 - 5 |d|^2 + 8 |d| - 4) up to 2,  a = -3/4

A signal (N, C, L) is an image of height one; "area" is adaptive_avg_pool2d.
The formula multiplies with A and B; the faster form (kernels/resize.py) goes through their two entries a row.
Cost: 6 C H' W' FLOPs each way; saves i and f of each axis, no image.
Source: Jaderberg et al. 2015, Spatial transformer networks, equation 5, on a regular grid; Keys 1981, Cubic
convolution interpolation, equation 15.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect, expect_alike
from .avg_pool import SeparableFunction, adaptive_avg_pool2d
from .kernels import resize as fast

Mode = Literal["nearest", "nearest-exact", "linear", "bilinear", "bicubic", "area"]
RANKS = {"linear": (3,), "bilinear": (4,), "bicubic": (4,)}  # of the input; the others take both
SHAPES = {3: "(N, C, L)", 4: "(N, C, H, W)"}


class InterpolateFunction(Function):
    """Y = A X B^T; A given by (rows, f), B by (columns, g), constants."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor, rows: Tensor, f: Tensor, columns: Tensor, g: Tensor) -> Tensor:
        return resized(x, rows, f, columns, g)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, *axes = inputs
        ctx.save_for_backward(*axes)
        ctx.save_for_forward(*axes)
        ctx.size = x.shape[2:]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        rows, f, columns, g = ctx.saved_tensors
        return resized_backward(dy, rows, f, columns, g, *ctx.size), None, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: None) -> Any:
        rows, f, columns, g = ctx.saved_tensors
        height, width = ctx.size
        return matrix(rows, f, height) @ x_dot @ matrix(columns, g, width).T


@or_faster(fast.resized, fast.RESIZED)
def resized(x: Tensor, rows: Tensor, f: Tensor, columns: Tensor, g: Tensor) -> Tensor:
    """Return Y = A X B^T."""
    return matrix(rows, f, x.shape[2]) @ x @ matrix(columns, g, x.shape[3]).T


@or_faster(fast.resized_backward, fast.RESIZED_BACKWARD)
def resized_backward(
    dy: Tensor, rows: Tensor, f: Tensor, columns: Tensor, g: Tensor, height: int, width: int
) -> Tensor:
    """Return dX = A^T dY B."""
    return matrix(rows, f, height).T @ dy @ matrix(columns, g, width)


def matrix(pixel: Tensor, fraction: Tensor, size: int) -> Tensor:
    """A (size', size): 1 - f at i and f at i + 1, which at the last pixel is i itself."""
    pixels = torch.arange(size, device=pixel.device)
    here = (pixel[:, None] == pixels).to(fraction.dtype)
    following = ((pixel + 1).clamp_max(size - 1)[:, None] == pixels).to(fraction.dtype)
    return here + fraction[:, None] * (following - here)


def taps(
    size: int, num_out: int, scale: float | None, mode: Mode, align_corners: bool
) -> tuple[Tensor, Tensor]:
    """Return i int64 and f float64 (num_out,); `scale` is output over input where the user gave it."""
    if mode in ("nearest", "nearest-exact"):
        # floor in float32, as torch: where o size / size' is whole, rounding decides
        outputs = torch.arange(num_out, dtype=torch.float32) + (0.5 if mode == "nearest-exact" else 0)
        step = torch.tensor(1 / scale if scale else size / num_out, dtype=torch.float32)
        pixel = (outputs * step).long().clamp_max(size - 1)
        return pixel, torch.zeros(num_out, dtype=torch.float64)
    position = positions(size, num_out, scale, align_corners).clamp(0, size - 1)
    pixel = position.floor()
    return pixel.long(), position - pixel


def positions(size: int, num_out: int, scale: float | None, align_corners: bool) -> Tensor:
    """Return p float64 (num_out,), not clipped."""
    outputs = torch.arange(num_out, dtype=torch.float64)
    if align_corners:
        return outputs * ((size - 1) / max(num_out - 1, 1))
    return (outputs + 0.5) * (1 / scale if scale else size / num_out) - 0.5


def cubic_matrix(size: int, num_out: int, scale: float | None, align_corners: bool) -> Tensor:
    """A (size', size) of four pixels about each position, float64."""
    position = positions(size, num_out, scale, align_corners)
    pixel = position.floor().long()[:, None] + torch.arange(-1, 3)  # (size', 4)
    d, a = (position[:, None] - pixel).abs(), -0.75
    near, far = ((a + 2) * d - (a + 3)) * d * d + 1, a * (((d - 5) * d + 8) * d - 4)
    weights = torch.where(d <= 1, near, far)
    return weights.new_zeros(num_out, size).scatter_add_(1, pixel.clamp(0, size - 1), weights)


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: Mode = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Return x (N, C, H, W) resized to `size` (H', W'), or by scale_factor: H' = floor(H scale_factor).

    A signal x (N, C, L) is resized along L. With recompute_scale_factor positions follow from H' and H, not
    from scale_factor. Raises ValueError where shapes, dtypes or options do not fit.
    """
    x, name = input, "interpolate"
    expect(mode in get_args(Mode), name, f"a mode of {', '.join(get_args(Mode))}", mode)
    ranks = RANKS.get(mode, (3, 4))
    expect(x.dim() in ranks, name, f"x {' or '.join(SHAPES[r] for r in ranks)} for mode {mode!r}", x)
    expect_alike(name, x=x)
    expect(not antialias, name, "antialias=False", antialias)
    expect((size is None) != (scale_factor is None), name, "size or scale_factor", "both or neither")
    expect(mode in RANKS or not align_corners, name, f"align_corners with mode {', '.join(RANKS)}", mode)
    sizes, scales = _sizes(x.shape[2:], size, scale_factor)
    expect(min(*x.shape[2:], *sizes) > 0, name, "sizes above 0", f"{tuple(x.shape)} to {tuple(sizes)}")
    if recompute_scale_factor:
        expect(scale_factor is not None, name, "recompute_scale_factor with scale_factor", "size")
        scales = [None] * len(sizes)
    if x.dim() == 3:
        return resized_image(x.unsqueeze(2), [1, *sizes], [None, *scales], mode, bool(align_corners)).squeeze(
            2
        )
    return resized_image(x, sizes, scales, mode, bool(align_corners))


def resized_image(
    x: Tensor, sizes: list[int], scales: list[float | None], mode: Mode, align_corners: bool
) -> Tensor:
    """Return x (N, C, H, W) at `sizes`."""
    if mode == "area":
        return adaptive_avg_pool2d(x, (sizes[0], sizes[1]))
    geometry = list(zip(x.shape[2:], sizes, scales, strict=True))
    if mode == "bicubic":
        rows, columns = (cubic_matrix(*axis, align_corners).to(x) for axis in geometry)
        y: Tensor = SeparableFunction.apply(x, rows, columns)
        return y
    axes = (taps(*axis, mode, align_corners) for axis in geometry)
    (rows, f), (columns, g) = ((pixel.to(x.device), fraction.to(x)) for pixel, fraction in axes)
    y = InterpolateFunction.apply(x, rows, f, columns, g)
    return y


def _sizes(
    shape: Sequence[int], size: int | Sequence[int] | None, scale_factor: float | Sequence[float] | None
) -> tuple[list[int], list[float | None]]:
    """Work out the size of each axis, and the scales where they were given."""
    if size is not None:
        sizes = [size] * len(shape) if isinstance(size, int) else list(size)
        expect(len(sizes) == len(shape), "interpolate", f"size as one number or {len(shape)}", size)
        return sizes, [None] * len(shape)
    assert scale_factor is not None
    scales = [scale_factor] * len(shape) if isinstance(scale_factor, int | float) else list(scale_factor)
    fits = len(scales) == len(shape)
    expect(fits, "interpolate", f"scale_factor as one number or {len(shape)}", scale_factor)
    return [int(n * s) for n, s in zip(shape, scales, strict=True)], [float(s) for s in scales]


class Upsample(nn.Upsample):
    """As torch.nn.Upsample, of images and signals."""

    mode: Mode

    def forward(self, input: Tensor) -> Tensor:
        options = (self.mode, self.align_corners, self.recompute_scale_factor)
        return interpolate(input, self.size, self.scale_factor, *options)
