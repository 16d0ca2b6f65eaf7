"""Loops for the CPU that read an image along a grid; each equals a formula in grid_sample.py.

Planes (N, C, H, W) are read one by one, from a copy with zeros around: one line above and left, two below and
right. Then a pixel outside is a zero like any other, nothing is tested where it is read, and the four
pixels about a position are one index and three fixed steps from it. Indices and weights are found once for
all planes, in a loop that is vectorised. A position wholly outside stands on the last zeros.

Many channels that lie side by side are read all at once.
"""

from typing import Any

import numpy as np
from torch import Tensor

from .loops import ZERO, run

ONE, HALF = np.float32(1), np.float32(0.5)
FEW = 8  # channels up to which planes are faster, whatever copies they need


def sample(x: Tensor, grid: Tensor, options: Any) -> Tensor:
    """Read x (N, C, H, W) along grid (N, P, 2): (N, C, P), in the layout of x."""
    channels, innermost = x.shape[1], _is_innermost(x)
    geometry = _geometry(x, grid, options)
    if innermost and channels > FEW:
        y = x.new_zeros(*grid.shape[:2], channels)
        run(_sample_rows, len(x), x.flatten(2).mT, *geometry, y)
        return y.mT
    y = x.new_empty(len(x), channels, grid.shape[1])
    run(_sample_planes, len(x), x.contiguous().flatten(2), *geometry, y)
    return y.mT.contiguous().mT if innermost else y


def sample_adjoint(dy: Tensor, x: Tensor, grid: Tensor, options: Any) -> tuple[Tensor, Tensor]:
    """Return dx (N, C, H, W), in the layout of x, and dgrid (N, P, 2) of dy (N, C, P)."""
    channels, innermost = x.shape[1], _is_innermost(x)
    geometry, dgrid = _geometry(x, grid, options), grid.new_empty(grid.shape)
    if innermost and channels > FEW:
        image = x.flatten(2).mT
        dimage = image.new_zeros(image.shape)
        run(_sample_rows_adjoint, len(x), dy.mT.contiguous(), image, *geometry, dimage, dgrid.flatten(1))
        return dimage.mT.reshape(x.shape), dgrid
    planes = x.contiguous().flatten(2)
    dplanes = planes.new_empty(planes.shape)
    run(_sample_planes_adjoint, len(x), dy.contiguous(), planes, *geometry, dplanes, dgrid.flatten(1))
    return (dplanes.mT.contiguous().mT if innermost else dplanes).reshape(x.shape), dgrid


def _is_innermost(x: Tensor) -> bool:
    return x.flatten(2).mT.is_contiguous() and not x.is_contiguous()


def _geometry(x: Tensor, grid: Tensor, options: Any) -> tuple[Tensor, tuple[int, ...]]:
    """Return what all loops take: the grid (gx, gy, ...), the image's size, and how positions are read."""
    how = (options.nearest, options.border, options.align_corners)
    return grid.contiguous().flatten(1), (*x.shape[2:], *(int(option) for option in how))


def _sample_planes(start: int, stop: int, x: Any, grid: Any, geometry: Any, y: Any) -> None:
    height, width, nearest, _, _ = geometry
    count, across = y.shape[2], width + 3
    right, down = np.empty(count, np.float32), np.empty(count, np.float32)
    at, padded = np.empty(count, np.uint32), np.zeros((height + 3) * across, np.float32)
    tl, tr, bl, br = padded, padded[1:], padded[across:], padded[across + 1 :]
    for n in range(start, stop):
        _to_pixels(grid[n], geometry, right, down)
        _to_corners(right, down, geometry, at)
        for c in range(x.shape[1]):
            _pad(x[n, c], height, width, padded)
            out = y[n, c]
            if nearest:
                for p in range(count):
                    out[p] = tl[np.uint64(at[p])]
            else:
                for p in range(count):
                    k = np.uint64(at[p])  # an index that cannot be negative needs no check
                    top = tl[k] + right[p] * (tr[k] - tl[k])
                    bottom = bl[k] + right[p] * (br[k] - bl[k])
                    out[p] = top + down[p] * (bottom - top)


def _sample_planes_adjoint(
    start: int, stop: int, dy: Any, x: Any, grid: Any, geometry: Any, dx: Any, dgrid: Any
) -> None:
    height, width, nearest, _, _ = geometry
    count, across = dy.shape[2], width + 3
    right, down = np.empty(count, np.float32), np.empty(count, np.float32)
    dpx, dpy = np.empty(count, np.float32), np.empty(count, np.float32)
    at, padded = np.empty(count, np.uint32), np.zeros((height + 3) * across, np.float32)
    dpadded = np.empty(padded.size, np.float32)
    tl, tr, bl, br = padded, padded[1:], padded[across:], padded[across + 1 :]
    dtl, dtr, dbl, dbr = dpadded, dpadded[1:], dpadded[across:], dpadded[across + 1 :]
    for n in range(start, stop):
        _to_pixels(grid[n], geometry, right, down)
        _to_corners(right, down, geometry, at)
        dpx[:] = ZERO
        dpy[:] = ZERO
        for c in range(x.shape[1]):
            upstream = dy[n, c]
            dpadded[:] = ZERO
            if nearest:
                for p in range(count):
                    dtl[np.uint64(at[p])] += upstream[p]
            else:
                _pad(x[n, c], height, width, padded)
                for p in range(count):
                    k, r, d, u = np.uint64(at[p]), right[p], down[p], upstream[p]
                    below = d * u
                    above = u - below
                    dtl[k] += above - r * above
                    dtr[k] += r * above
                    dbl[k] += below - r * below
                    dbr[k] += r * below
                    top, bottom = tr[k] - tl[k], br[k] - bl[k]
                    left, aft = bl[k] - tl[k], br[k] - tr[k]
                    dpx[p] += u * (top + d * (bottom - top))
                    dpy[p] += u * (left + r * (aft - left))
            for i in range(height):
                target, line = dx[n, c, i * width : (i + 1) * width], dpadded[(i + 1) * across + 1 :]
                for j in range(target.size):
                    target[j] = line[j]
        _to_grid(dpx, dpy, grid[n], geometry, dgrid[n])


def _sample_rows(start: int, stop: int, x: Any, grid: Any, geometry: Any, y: Any) -> None:
    height, width, nearest, _, _ = geometry
    count, channels = y.shape[1:]
    px, py = np.empty(count, np.float32), np.empty(count, np.float32)
    for n in range(start, stop):
        _to_pixels(grid[n], geometry, px, py)
        for p in range(count):
            top = np.rint(py[p]) if nearest else np.floor(py[p])
            left = np.rint(px[p]) if nearest else np.floor(px[p])
            down, right, out = py[p] - top, px[p] - left, y[n, p]
            for corner in range(1 if nearest else 4):
                i, j = int(top) + (corner >> 1), int(left) + (corner & 1)
                if 0 <= i < height and 0 <= j < width:
                    vertical, horizontal = (
                        down if corner >> 1 else ONE - down,
                        right if corner & 1 else ONE - right,
                    )
                    weight, pixel = ONE if nearest else vertical * horizontal, x[n, i * width + j]
                    for c in range(channels):
                        out[c] += weight * pixel[c]


def _sample_rows_adjoint(
    start: int, stop: int, dy: Any, x: Any, grid: Any, geometry: Any, dx: Any, dgrid: Any
) -> None:
    height, width, nearest, _, _ = geometry
    count, channels = dy.shape[1:]
    px, py = np.empty(count, np.float32), np.empty(count, np.float32)
    for n in range(start, stop):
        _to_pixels(grid[n], geometry, px, py)
        for p in range(count):
            top = np.rint(py[p]) if nearest else np.floor(py[p])
            left = np.rint(px[p]) if nearest else np.floor(px[p])
            down, right, upstream = py[p] - top, px[p] - left, dy[n, p]
            dpx = dpy = ZERO
            for corner in range(1 if nearest else 4):
                i, j = int(top) + (corner >> 1), int(left) + (corner & 1)
                if 0 <= i < height and 0 <= j < width:
                    vertical, horizontal = (
                        down if corner >> 1 else ONE - down,
                        right if corner & 1 else ONE - right,
                    )
                    weight, dw = ONE if nearest else vertical * horizontal, ZERO
                    pixel, target = x[n, i * width + j], dx[n, i * width + j]
                    for c in range(channels):
                        target[c] += weight * upstream[c]
                        dw += upstream[c] * pixel[c]
                    if not nearest:
                        dpx += dw * vertical if corner & 1 else -dw * vertical
                        dpy += dw * horizontal if corner >> 1 else -dw * horizontal
            px[p], py[p] = dpx, dpy  # read for the last time
        _to_grid(px, py, grid[n], geometry, dgrid[n])


def _to_pixels(grid: Any, geometry: Any, px: Any, py: Any) -> None:
    """Set px and py of a grid (gx, gy, gx, ...), in pixels, clipped to the image if `border`."""
    height, width, _, border, align_corners = geometry
    last_x, last_y = np.float32(width - 1), np.float32(height - 1)
    inner, shift = (ONE, ZERO) if align_corners else (ZERO, HALF)
    sx, sy = HALF * (last_x + ONE - inner), HALF * (last_y + ONE - inner)
    for p in range(px.size):
        px[p] = (grid[2 * p] + ONE) * sx - shift
        py[p] = (grid[2 * p + 1] + ONE) * sy - shift
    if border:
        for p in range(px.size):
            px[p] = min(max(px[p], ZERO), last_x)
            py[p] = min(max(py[p], ZERO), last_y)


def _to_corners(px: Any, py: Any, geometry: Any, at: Any) -> None:
    """Set `at` to the top left pixel's index in the padded plane; px and py become the way on from there."""
    height, width, nearest, _, _ = geometry
    low = ZERO if nearest else -ONE
    h, w, across = np.float32(height), np.float32(width), np.int32(width + 3)
    for p in range(px.size):
        x, y = px[p], py[p]
        left = np.rint(x) if nearest else np.floor(x)
        top = np.rint(y) if nearest else np.floor(y)
        inside = (left >= low) & (left < w) & (top >= low) & (top < h)  # False if it is no number
        px[p] = x - left if inside else ZERO
        py[p] = y - top if inside else ZERO
        i, j = np.int32((top if inside else h) + ONE), np.int32((left if inside else w) + ONE)
        at[p] = np.int32(i * across + j)


def _pad(plane: Any, height: int, width: int, padded: Any) -> None:
    """Write a plane (H W) into its padded copy."""
    for i in range(height):
        line, source = padded[(i + 1) * (width + 3) + 1 :], plane[i * width : (i + 1) * width]
        for j in range(source.size):
            line[j] = source[j]


def _to_grid(dpx: Any, dpy: Any, grid: Any, geometry: Any, dgrid: Any) -> None:
    """Set dgrid to the gradient of the positions times their slope, none where `border` clipped them."""
    height, width, _, border, align_corners = geometry
    last_x, last_y = np.float32(width - 1), np.float32(height - 1)
    inner, shift = (ONE, ZERO) if align_corners else (ZERO, HALF)
    sx, sy = HALF * (last_x + ONE - inner), HALF * (last_y + ONE - inner)
    for p in range(dpx.size):
        dgrid[2 * p] = dpx[p] * sx
        dgrid[2 * p + 1] = dpy[p] * sy
    if border:
        for p in range(dpx.size):
            x, y = (grid[2 * p] + ONE) * sx - shift, (grid[2 * p + 1] + ONE) * sy - shift
            if not (x > ZERO and x < last_x):
                dgrid[2 * p] = ZERO
            if not (y > ZERO and y < last_y):
                dgrid[2 * p + 1] = ZERO
