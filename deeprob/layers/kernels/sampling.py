"""Loops for the CPU that resize images and pool boxes of them; each equals a formula in its layer.

The inner loop runs over channels that lie side by side, through slices, whose indices cannot be negative:
only then is it vectorised. An image stored as (N, C, H, W) is resized as N C images of one channel.
"""

import numpy as np
import torch
from torch import Tensor

from .loops import run


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


def _neighbours(columns: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return each column and the next, unsigned: an index that cannot be negative needs no check."""
    return columns.to(torch.uint64), (columns + 1).clamp_max(width - 1).to(torch.uint64)


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


def _channels_innermost(x: Tensor) -> bool:
    return x.shape[1] > 1 and x.is_contiguous(memory_format=torch.channels_last)
