"""Resizing an image, nearest or bilinear: one sparse matrix an axis.

    Y = A X B^T          X (N, C, H, W)   Y (N, C, H', W')   A (H', H)   B (W', W)

    dX = A^T dY B        each pixel collects from the outputs that read it, by the weights they read it with

    row o of A reads the input at position p, in pixels, between pixel i = floor(p) and the next:
        A[o, i] = 1 - f,  A[o, i + 1] = f,  f = p - i
        align_corners    p = o (size - 1) / (size' - 1)               corner pixels keep their centres
        else             p = (o + 1/2) size / size' - 1/2, clipped    corner pixels keep their outer edges
        nearest          i = floor(o size / size'),  f = 0

The formula multiplies with A and B; the faster form (kernels/resize.py) goes through their two entries a row.
Cost: 6 C H' W' FLOPs each way; saves i and f of each axis, no image.
Source: Jaderberg et al. 2015, Spatial transformer networks, equation 5, on a regular grid.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect, expect_alike
from ._module import takes_only
from .kernels import resize as fast

Mode = Literal["nearest", "bilinear"]


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
    outputs = torch.arange(num_out, dtype=torch.float64)
    step = 1 / scale if scale else size / num_out
    if mode == "nearest":  # floor in float32, as torch: where o size / size' is whole, rounding decides
        pixel = (outputs.float() * torch.tensor(step, dtype=torch.float32)).long().clamp_max(size - 1)
        return pixel, torch.zeros_like(outputs)
    if align_corners:
        position = outputs * ((size - 1) / max(num_out - 1, 1))
    else:
        position = ((outputs + 0.5) * step - 0.5).clamp(0, size - 1)
    pixel = position.floor()
    return pixel.long(), position - pixel


def interpolate(
    x: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: Mode = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Return x (N, C, H, W) resized to `size` (H', W'), or by scale_factor: H' = floor(H scale_factor).

    Raises ValueError where shapes, dtypes or options do not fit.
    """
    expect(x.dim() == 4, "interpolate", "x (N, C, H, W)", x)
    expect_alike("interpolate", x=x)
    expect((size is None) != (scale_factor is None), "interpolate", "size or scale_factor", "both or neither")
    expect(mode in ("nearest", "bilinear"), "interpolate", "mode 'nearest' or 'bilinear'", repr(mode))
    expect(mode == "bilinear" or not align_corners, "interpolate", "align_corners with mode 'bilinear'", mode)
    sizes, scales = _sizes(x.shape[2:], size, scale_factor)
    expect(
        min(*x.shape[2:], *sizes) > 0, "interpolate", "sizes above 0", f"{tuple(x.shape)} to {tuple(sizes)}"
    )
    axes = (
        taps(i, o, s, mode, bool(align_corners)) for i, o, s in zip(x.shape[2:], sizes, scales, strict=True)
    )
    (rows, f), (columns, g) = ((pixel.to(x.device), fraction.to(x)) for pixel, fraction in axes)
    y: Tensor = InterpolateFunction.apply(x, rows, f, columns, g)
    return y


def _sizes(
    shape: Sequence[int], size: int | Sequence[int] | None, scale_factor: float | Sequence[float] | None
) -> tuple[list[int], list[float | None]]:
    """Work out H' and W', and the scales where they were given."""
    if size is not None:
        sizes = [size, size] if isinstance(size, int) else list(size)
        expect(len(sizes) == 2, "interpolate", "size as one number or (H', W')", size)
        return sizes, [None, None]
    assert scale_factor is not None
    scales = [scale_factor] * 2 if isinstance(scale_factor, int | float) else list(scale_factor)
    expect(len(scales) == 2, "interpolate", "scale_factor as one number or two", scale_factor)
    return [int(n * s) for n, s in zip(shape, scales, strict=True)], [float(s) for s in scales]


@takes_only(recompute_scale_factor=None)
class Upsample(nn.Upsample):
    """As torch.nn.Upsample, of images."""

    mode: Mode

    def forward(self, x: Tensor) -> Tensor:
        return interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)
