"""Sampling an image along a grid: the spatial transformer's reader.

    x (N, C, H, W) image    grid (N, H', W', 2) positions (gx, gy), -1 to 1 across it    y (N, C, H', W')

    px = ((gx + 1) W - 1) / 2, py alike, in pixels; with align_corners (gx + 1) (W - 1) / 2
    w_ij = max(0, 1 - |py - i|) max(0, 1 - |px - j|)                  0 but for the four pixels about p
    y[n, c, p] = sum over pixels (i, j) of w_ij x[n, c, i, j]

    dx[n, c, i, j] = sum over p of w_ij dy[n, c, p]                   scattered back with the same weights
    dw_ij = sum over c of dy[n, c, p] x[n, c, i, j]
    dpx = sum over (i, j) of dw_ij sign(j - px) (1 - |py - i|)        dpy alike
    dgx = dpx W / 2                                                   with align_corners dpx (W - 1) / 2

Pixels outside are 0 ("zeros"), or positions are clipped to the image and get no gradient there ("border").
"nearest" reads one pixel, with no gradient in the grid. On whole positions, where w has a corner, the
derivative is the one from the right, as in torch.
Cost: 8 C FLOPs a position forward, 16 C backward; saves x and grid. Faster: kernels/grid_sample.py.
Source: Jaderberg et al. 2015, Spatial transformer networks, equations 5 to 7.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from ._fast import or_faster
from ._function import Function, expect, expect_alike
from .kernels import grid_sample as fast
from .kernels.grid_sample import Options


class GridSampleFunction(Function):
    """The sampling above, of a flat grid (N, P, 2): (N, C, P)."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor, grid: Tensor, options: Options) -> Tensor:
        return sampled(x, grid, options)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, grid, ctx.options = inputs
        ctx.save_for_backward(x, grid)
        ctx.save_for_forward(x, grid)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, grid = ctx.saved_tensors
        return *sampled_backward(dy, x, grid, ctx.options), None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, grid_dot: Tensor, _: None) -> Any:
        x, grid = ctx.saved_tensors
        px, py, slope = positions(grid, x.shape, ctx.options)
        px_dot, py_dot = (grid_dot * slope).unbind(-1)
        parts = []
        for index, w, w_px, w_py in corners(px, py, x.shape, ctx.options):
            w_dot = w_px * px_dot + w_py * py_dot
            parts.append(w[:, None] * take(x_dot, index) + w_dot[:, None] * take(x, index))
        return sum(parts[1:], parts[0])


@or_faster(fast.sampled, fast.SAMPLED)
def sampled(x: Tensor, grid: Tensor, options: Options) -> Tensor:
    """Return x (N, C, H, W) at grid (N, P, 2): (N, C, P)."""
    px, py, _ = positions(grid, x.shape, options)
    parts = [w[:, None] * take(x, index) for index, w, *_ in corners(px, py, x.shape, options)]
    return sum(parts[1:], parts[0])


@or_faster(fast.sampled_backward, fast.SAMPLED_BACKWARD)
def sampled_backward(dy: Tensor, x: Tensor, grid: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """Return dx and dgrid of dy (N, C, P)."""
    px, py, slope = positions(grid, x.shape, options)
    dx, dpx, dpy = sample_slopes(dy, x, px, py, options)
    return dx, torch.stack([dpx, dpy], -1) * slope


def sample_slopes(
    dy: Tensor, x: Tensor, px: Tensor, py: Tensor, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx (N, C, H, W), dpx and dpy (N, P) from dy (N, C, P)."""
    dx, dpx, dpy = torch.zeros_like(x).flatten(2), torch.zeros_like(px), torch.zeros_like(py)
    for index, w, w_px, w_py in corners(px, py, x.shape, options):
        dx = dx.scatter_add(2, index[:, None].expand_as(dy), w[:, None] * dy)
        dw = (dy * take(x, index)).sum(1)
        dpx, dpy = dpx + dw * w_px, dpy + dw * w_py
    return dx.reshape(x.shape), dpx, dpy


def corners(
    px: Tensor, py: Tensor, shape: torch.Size, options: Options
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield the pixels about each position: flat index, w, dw/dpx and dw/dpy (N, P), 0 outside the image."""
    height, width = shape[2:]
    if options.nearest:
        i, j = py.round(), px.round()
        one = torch.ones_like(px)
        yield _corner(i, j, height, width, one, 0 * one, 0 * one)
        return
    top, left = py.floor().detach(), px.floor().detach()
    down, right = py - top, px - left
    for di, vertical, sign_i in ((0, 1 - down, -1), (1, down, 1)):
        for dj, horizontal, sign_j in ((0, 1 - right, -1), (1, right, 1)):
            w = vertical * horizontal
            yield _corner(top + di, left + dj, height, width, w, sign_j * vertical, sign_i * horizontal)


def _corner(i: Tensor, j: Tensor, height: int, width: int, *weights: Tensor) -> Any:
    inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
    index = i.clamp(0, height - 1).long() * width + j.clamp(0, width - 1).long()
    return index, *(w * inside for w in weights)


def take(x: Tensor, index: Tensor) -> Tensor:
    """Read pixels (N, C, P) of x (N, C, H, W) by flat index (N, P)."""
    return x.flatten(2).gather(2, index[:, None].expand(-1, x.shape[1], -1))


def positions(grid: Tensor, shape: torch.Size, options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """Return px and py (N, P) in pixels, and their slope in the grid (N, P, 2)."""
    size = torch.tensor([shape[3], shape[2]], dtype=grid.dtype, device=grid.device)
    slope = (size - 1) / 2 if options.align_corners else size / 2
    pixels = (grid + 1) * slope if options.align_corners else (grid + 1) * slope - 0.5
    slope = slope.expand_as(grid)
    if options.border:
        slope = slope * ((pixels > 0) & (pixels < size - 1))
        pixels = torch.minimum(pixels.clamp_min(0), size - 1)
    px, py = pixels.unbind(-1)
    return px, py, slope


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: Literal["bilinear", "nearest"] = "bilinear",
    padding_mode: Literal["zeros", "border"] = "zeros",
    align_corners: bool = False,
) -> Tensor:
    """Return x (N, C, H, W) read at grid (N, H', W', 2) of (x, y) from -1 to 1 across it: (N, C, H', W').

    -1 and 1 are the outer edges of the corner pixels, with align_corners their centres. Raises ValueError
    where shapes, dtypes, devices or options do not fit.
    """
    x = input
    expect(x.dim() == 4 and min(x.shape[2:]) > 0, "grid_sample", "x (N, C, H, W) of some pixels", x)
    fits = grid.dim() == 4 and grid.shape[3] == 2 and len(grid) == len(x)
    expect(fits, "grid_sample", f"grid ({len(x)}, H', W', 2)", grid)
    expect_alike("grid_sample", x=x, grid=grid)
    expect(mode in ("bilinear", "nearest"), "grid_sample", "mode 'bilinear' or 'nearest'", repr(mode))
    known = padding_mode in ("zeros", "border")
    expect(known, "grid_sample", "padding_mode 'zeros' or 'border'", repr(padding_mode))
    options = Options(mode == "nearest", padding_mode == "border", align_corners)
    y: Tensor = GridSampleFunction.apply(x, grid.flatten(1, 2), options)
    return y.reshape(*x.shape[:2], *grid.shape[1:3])
