"""Loops for the CPU that read and write images between their pixels; each equals a formula in its layer.

The inner loop runs over channels that lie side by side, through slices, whose indices cannot be negative:
only then is it vectorised. An image stored as (N, C, H, W) is resized as N C images of one channel, and
sampled from a copy with its channels innermost.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .kernels import run


def resize(x: Tensor, rows: Tensor, f: Tensor, columns: Tensor, g: Tensor) -> Tensor:
    """Return Y = A X B^T of x (N, C, H, W), in the layout of x."""
    lines, channels = _lines(x)
    y = lines.new_empty(len(lines), len(rows), len(columns) * channels)
    run(_resize, len(lines), lines, rows, f, *_neighbours(columns, x.shape[3]), g, channels, y)
    return _image(y, x, len(rows), len(columns))


def resize_adjoint(
    dy: Tensor, rows: Tensor, f: Tensor, columns: Tensor, g: Tensor, height: int, width: int
) -> Tensor:
    """Return dX = A^T dY B of dy (N, C, H', W'), in the layout of dy."""
    lines, channels = _lines(dy)
    dx = lines.new_zeros(len(lines), height, width * channels)
    run(_resize_adjoint, len(lines), lines, rows, f, *_neighbours(columns, width), g, channels, dx)
    return _image(dx, dy, height, width)


def sample(x: Tensor, px: Tensor, py: Tensor, nearest: bool) -> Tensor:
    """Read x (N, C, H, W) at px, py (N, P), in pixels, 0 outside the image: (N, C, P)."""
    if _few_planes(x):
        y = x.new_empty(*x.shape[:2], px.shape[1])
        run(_sample_planes, len(x), x.flatten(2), *x.shape[2:], px.contiguous(), py.contiguous(), nearest, y)
        return y
    image, (px, py) = _pixels(x), (px.contiguous(), py.contiguous())
    y = x.new_zeros(*px.shape, x.shape[1])
    run(_sample, len(x), image, *x.shape[2:], px, py, nearest, y)
    return _planes(y, x)


def sample_adjoint(
    dy: Tensor, x: Tensor, px: Tensor, py: Tensor, nearest: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx (N, C, H, W), dpx and dpy (N, P) of dy (N, C, P)."""
    if _few_planes(x):
        dx, px, py = torch.zeros_like(x), px.contiguous(), py.contiguous()
        dpx, dpy = torch.zeros_like(px), torch.zeros_like(py)
        arrays = (dy.contiguous(), x.flatten(2), *x.shape[2:], px, py, nearest, dx.flatten(2), dpx, dpy)
        run(_sample_planes_adjoint, len(x), *arrays)
        return dx, dpx, dpy
    image, (px, py) = _pixels(x), (px.contiguous(), py.contiguous())
    dimage, dpx, dpy = (torch.zeros_like(t) for t in (image, px, py))
    run(_sample_adjoint, len(x), _pixels(dy), image, *x.shape[2:], px, py, nearest, dimage, dpx, dpy)
    return _planes(dimage, x).reshape(x.shape), dpx, dpy


def pool_winners(
    x: Tensor, sample: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]
) -> Tensor:
    """Find the flat index (K, C, P, Q) into x (N, C, H, W) of each bin's largest pixel; -1 where empty."""
    winners = torch.full((len(sample), x.shape[1], rows[0].shape[1], columns[0].shape[1]), -1)
    edges = [edge.contiguous() for edge in (*rows, *columns)]
    run(_pool_winners, len(sample), x.contiguous(), sample, *edges, winners)
    return winners


def _resize(start, stop, x, rows, f, near, far, g, channels, y):  # type: ignore[no-untyped-def]
    height, length = x.shape[1:]
    mixed = np.empty(length, x.dtype)
    for n in range(start, stop):
        for o in range(len(rows)):
            line, out, weight = x[n, rows[o]], y[n, o], f[o]
            if weight != 0:
                following = x[n, min(rows[o] + 1, height - 1)]
                for i in range(length):
                    mixed[i] = line[i] + weight * (following[i] - line[i])
                line = mixed
            if channels == 1:
                for p in range(len(near)):
                    value = line[near[p]]
                    out[p] = value + g[p] * (line[far[p]] - value)
                continue
            for p in range(len(near)):
                pixel, weight = out[p * channels : (p + 1) * channels], g[p]
                left, right = line[near[p] * channels :], line[far[p] * channels :]
                if weight == 0:
                    for c in range(channels):
                        pixel[c] = left[c]
                else:
                    for c in range(channels):
                        pixel[c] = left[c] + weight * (right[c] - left[c])


def _resize_adjoint(start, stop, dy, rows, f, near, far, g, channels, dx):  # type: ignore[no-untyped-def]
    height, length = dx.shape[1:]
    mixed = np.empty(length, dy.dtype)
    for n in range(start, stop):
        for o in range(len(rows)):
            line, upstream, mix = dx[n, rows[o]], dy[n, o], f[o]
            if mix != 0:
                line = mixed
                line[:] = 0
            if channels == 1:
                for p in range(len(near)):
                    line[near[p]] += (1 - g[p]) * upstream[p]
                    line[far[p]] += g[p] * upstream[p]
            else:
                for p in range(len(near)):
                    pixel, weight = upstream[p * channels : (p + 1) * channels], g[p]
                    left, right = line[near[p] * channels :], line[far[p] * channels :]
                    for c in range(channels):
                        left[c] += (1 - weight) * pixel[c]
                    if weight != 0:
                        for c in range(channels):
                            right[c] += weight * pixel[c]
            if mix != 0:
                here, following = dx[n, rows[o]], dx[n, min(rows[o] + 1, height - 1)]
                for i in range(length):
                    here[i] += (1 - mix) * line[i]
                for i in range(length):
                    following[i] += mix * line[i]


def _sample(start, stop, x, height, width, px, py, nearest, y):  # type: ignore[no-untyped-def]
    one, channels = np.float32(1), x.shape[2]
    for n in range(start, stop):
        for p in range(px.shape[1]):
            top = np.rint(py[n, p]) if nearest else np.floor(py[n, p])
            left = np.rint(px[n, p]) if nearest else np.floor(px[n, p])
            down, right, out = py[n, p] - top, px[n, p] - left, y[n, p]
            for corner in range(1 if nearest else 4):
                i, j = int(top) + (corner >> 1), int(left) + (corner & 1)
                if 0 <= i < height and 0 <= j < width:
                    vertical, horizontal = (
                        down if corner >> 1 else one - down,
                        right if corner & 1 else one - right,
                    )
                    weight, pixel = one if nearest else vertical * horizontal, x[n, i * width + j]
                    for c in range(channels):
                        out[c] += weight * pixel[c]


def _sample_adjoint(start, stop, dy, x, height, width, px, py, nearest, dx, dpx, dpy):  # type: ignore[no-untyped-def]
    one, channels = np.float32(1), x.shape[2]
    for n in range(start, stop):
        for p in range(px.shape[1]):
            top = np.rint(py[n, p]) if nearest else np.floor(py[n, p])
            left = np.rint(px[n, p]) if nearest else np.floor(px[n, p])
            down, right, upstream = py[n, p] - top, px[n, p] - left, dy[n, p]
            for corner in range(1 if nearest else 4):
                i, j = int(top) + (corner >> 1), int(left) + (corner & 1)
                if 0 <= i < height and 0 <= j < width:
                    vertical, horizontal = (
                        down if corner >> 1 else one - down,
                        right if corner & 1 else one - right,
                    )
                    weight, dw = one if nearest else vertical * horizontal, np.float32(0)
                    pixel, target = x[n, i * width + j], dx[n, i * width + j]
                    for c in range(channels):
                        target[c] += weight * upstream[c]
                        dw += upstream[c] * pixel[c]
                    if not nearest:
                        dpx[n, p] += dw * vertical if corner & 1 else -dw * vertical
                        dpy[n, p] += dw * horizontal if corner >> 1 else -dw * horizontal


# Of a few channels no row is long enough for a vector: the four corners are found once a position, and read
# plane by plane. A corner outside has its weights zero, and stands for the pixel nearest to it.


def _sample_planes(start, stop, x, height, width, px, py, nearest, y):  # type: ignore[no-untyped-def]
    zero, one = np.float32(0), np.float32(1)
    for n in range(start, stop):
        for p in range(px.shape[1]):
            top = np.rint(py[n, p]) if nearest else np.floor(py[n, p])
            left = np.rint(px[n, p]) if nearest else np.floor(px[n, p])
            down, right = py[n, p] - top, px[n, p] - left
            if nearest:
                down = right = zero
            i, j = int(top), int(left)
            up, low = one - down if 0 <= i < height else zero, down if 0 <= i + 1 < height else zero
            fore, aft = one - right if 0 <= j < width else zero, right if 0 <= j + 1 < width else zero
            above, below = min(max(i, 0), height - 1) * width, min(max(i + 1, 0), height - 1) * width
            before, after = min(max(j, 0), width - 1), min(max(j + 1, 0), width - 1)
            tl, tr = np.uint64(above + before), np.uint64(above + after)
            bl, br = np.uint64(below + before), np.uint64(below + after)
            for c in range(x.shape[1]):
                plane = x[n, c]
                y[n, c, p] = up * (fore * plane[tl] + aft * plane[tr]) + low * (
                    fore * plane[bl] + aft * plane[br]
                )


def _sample_planes_adjoint(start, stop, dy, x, height, width, px, py, nearest, dx, dpx, dpy):  # type: ignore[no-untyped-def]
    zero, one = np.float32(0), np.float32(1)
    for n in range(start, stop):
        for p in range(px.shape[1]):
            top = np.rint(py[n, p]) if nearest else np.floor(py[n, p])
            left = np.rint(px[n, p]) if nearest else np.floor(px[n, p])
            down, right = py[n, p] - top, px[n, p] - left
            if nearest:
                down = right = zero
            i, j = int(top), int(left)
            in_t, in_b = one if 0 <= i < height else zero, one if 0 <= i + 1 < height else zero
            in_l, in_r = one if 0 <= j < width else zero, one if 0 <= j + 1 < width else zero
            # chosen, not multiplied: a position that is no number has weight zero
            up, low = one - down if in_t != zero else zero, down if in_b != zero else zero
            fore, aft = one - right if in_l != zero else zero, right if in_r != zero else zero
            above, below = min(max(i, 0), height - 1) * width, min(max(i + 1, 0), height - 1) * width
            before, after = min(max(j, 0), width - 1), min(max(j + 1, 0), width - 1)
            tl, tr = np.uint64(above + before), np.uint64(above + after)
            bl, br = np.uint64(below + before), np.uint64(below + after)
            dtl = dtr = dbl = dbr = zero  # gradients of the four weights
            for c in range(x.shape[1]):
                plane, target, upstream = x[n, c], dx[n, c], dy[n, c, p]
                target[tl] += up * fore * upstream
                target[tr] += up * aft * upstream
                target[bl] += low * fore * upstream
                target[br] += low * aft * upstream
                dtl += upstream * plane[tl]
                dtr += upstream * plane[tr]
                dbl += upstream * plane[bl]
                dbr += upstream * plane[br]
            if not nearest:
                dpx[n, p] = up * (in_r * dtr - in_l * dtl) + low * (in_r * dbr - in_l * dbl)
                dpy[n, p] = fore * (in_b * dbl - in_t * dtl) + aft * (in_b * dbr - in_t * dtr)


def _transpose(start, stop, x, y):  # type: ignore[no-untyped-def]
    """Y[n] = x[n]^T, sixteen rows of x at a time: one cache line of y."""
    num_rows, num_columns = x.shape[1:]
    for n in range(start, stop):
        for first in range(0, num_rows, 16):
            source, target = x[n, first : first + 16], y[n][:, first : first + 16]
            for j in range(num_columns):
                for i in range(len(source)):
                    target[j, i] = source[i, j]


def _pool_winners(start, stop, x, sample, top, bottom, left, right, winners):  # type: ignore[no-untyped-def]
    _, channels, height, width = x.shape
    for k in range(start, stop):
        for c in range(channels):
            plane, base = x[sample[k], c], (sample[k] * channels + c) * height * width
            for p in range(top.shape[1]):
                for q in range(left.shape[1]):
                    largest = -np.inf
                    for i in range(top[k, p], bottom[k, p]):
                        for j in range(left[k, q], right[k, q]):
                            if plane[i, j] > largest:
                                largest = plane[i, j]
                                winners[k, c, p, q] = base + i * width + j


def _neighbours(columns: Tensor, width: int) -> tuple[Any, Any]:
    """Return each column and the next, unsigned: an index that cannot be negative needs no check."""
    near, far = columns.numpy(), (columns + 1).clamp_max(width - 1).numpy()
    return near.astype(np.uint64), far.astype(np.uint64)


def _lines(x: Tensor) -> tuple[Tensor, int]:
    """View x as (images, H, W channels) and count the channels: all of them innermost, or one an image."""
    num_samples, channels, height, width = x.shape
    if _channels_innermost(x):
        return x.permute(0, 2, 3, 1).reshape(num_samples, height, width * channels), channels
    return x.reshape(num_samples * channels, height, width), 1


def _image(lines: Tensor, like: Tensor, height: int, width: int) -> Tensor:
    """Undo _lines."""
    num_samples, channels = like.shape[:2]
    if len(lines) == num_samples and channels > 1:
        return lines.reshape(num_samples, height, width, channels).permute(0, 3, 1, 2)
    return lines.reshape(num_samples, channels, height, width)


def _few_planes(x: Tensor) -> bool:
    """Whether x (N, C, H, W) lies in planes too few to be worth bringing its channels innermost."""
    return x.shape[1] <= FEW and x.is_contiguous()


FEW = 8  # planes up to which no copy pays


def _channels_innermost(x: Tensor) -> bool:
    return x.shape[1] > 1 and x.is_contiguous(memory_format=torch.channels_last)


def _pixels(x: Tensor) -> Tensor:
    """Lay x (N, C, ...) out as (N, P, C)."""
    rows = x.flatten(2)
    return rows.mT if rows.mT.is_contiguous() else _transposed(rows.contiguous())


def _planes(rows: Tensor, like: Tensor) -> Tensor:
    """View rows (N, P, C) as (N, C, P), and lay them out so where `like` has its channels outermost."""
    return rows.mT if _channels_innermost(like) else _transposed(rows)


def _transposed(x: Tensor) -> Tensor:
    y = x.new_empty(len(x), x.shape[2], x.shape[1])
    run(_transpose, len(x), x, y)
    return y
