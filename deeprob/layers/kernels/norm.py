"""The loops of the norms, each one pass over memory; loops.py runs them."""

from typing import Any

import numpy as np

from .loops import ZERO

# --- layer_norm and rms_norm: rows (R, D). Sums over rows are gathered by PART rows, then by the `size` of a
# thread's share: few enough terms for float32.

PART = 64


# The moments are taken about the row's first entry: it lies within sqrt(D - 1) standard deviations of the
# mean, so that the squares lose few digits, and one pass does.


def layer_norm(start: int, stop: int, x: Any, w: Any, b: Any, eps: float, y: Any) -> None:
    """y = w (x - mu) r + b a row."""
    for n in range(start, stop):
        row, target = x[n], y[n]
        count, centre = np.float32(row.size), row[0]
        total = square = ZERO
        for i in range(row.size):
            d = row[i] - centre
            total += d
            square += d * d
        offset = total / count
        mu, var = centre + offset, max(square / count - offset * offset, ZERO)
        r = np.float32(1) / np.sqrt(var + np.float32(eps))
        for i in range(row.size):
            target[i] = w[i] * ((row[i] - mu) * r) + b[i]


def layer_norm_gradient(
    start: int, stop: int, dy: Any, x: Any, w: Any, eps: float, dx: Any, sums: Any, size: int
) -> None:
    """dx = r (k - mean k - h mean(k h)), k = w dy, a row; add a share's dw and db to its sums (2, D)."""
    part = np.empty((2, x.shape[1]), np.float32)
    dw, db = part[0], part[1]
    for first in range(start, stop, PART):
        part[:] = ZERO
        for n in range(first, min(first + PART, stop)):
            row, up, target = x[n], dy[n], dx[n]
            count, centre = np.float32(row.size), row[0]
            total = square = k_sum = kd_sum = ZERO
            for i in range(row.size):
                d = row[i] - centre
                k = w[i] * up[i]
                total += d
                square += d * d
                k_sum += k
                kd_sum += k * d
            offset = total / count
            mu, var = centre + offset, max(square / count - offset * offset, ZERO)
            r = np.float32(1) / np.sqrt(var + np.float32(eps))
            mean_k = k_sum / count
            slope = r * r * (kd_sum - offset * k_sum) / count
            for i in range(row.size):
                d, u = row[i] - mu, up[i]
                target[i] = r * (w[i] * u - mean_k - d * slope)
                dw[i] += u * (d * r)
                db[i] += u
        sums[start // size] += part


def rms_norm(start: int, stop: int, x: Any, w: Any, eps: float, y: Any) -> None:
    """y = w x r a row."""
    for n in range(start, stop):
        row, target = x[n], y[n]
        square = ZERO
        for i in range(row.size):
            square += row[i] * row[i]
        r = np.float32(1) / np.sqrt(square / np.float32(row.size) + np.float32(eps))
        for i in range(row.size):
            target[i] = w[i] * (row[i] * r)


def rms_norm_gradient(
    start: int, stop: int, dy: Any, x: Any, w: Any, eps: float, dx: Any, sums: Any, size: int
) -> None:
    """dx = r (k - h mean(k h)), k = w dy, a row; add a share's dw to its sums (D)."""
    dw = np.empty(x.shape[1], np.float32)
    for first in range(start, stop, PART):
        dw[:] = ZERO
        for n in range(first, min(first + PART, stop)):
            row, up, target = x[n], dy[n], dx[n]
            count = np.float32(row.size)
            square = kx_sum = ZERO
            for i in range(row.size):
                square += row[i] * row[i]
                kx_sum += w[i] * up[i] * row[i]
            r = np.float32(1) / np.sqrt(square / count + np.float32(eps))
            slope = r * r * kx_sum / count
            for i in range(row.size):
                target[i] = r * (w[i] * up[i] - row[i] * slope)
                dw[i] += up[i] * row[i] * r
        sums[start // size] += dw


# --- group_norm: x (N, C, M); a loop over samples


def group_norm(start: int, stop: int, x: Any, groups: int, w: Any, b: Any, eps: float, y: Any) -> None:
    """y = w (x - mu) r + b, mu and r of each sample's group of channels."""
    width = x.shape[1] // groups
    count = np.float32(width * x.shape[2])
    for n in range(start, stop):
        for g in range(groups):
            total = square = ZERO
            for c in range(g * width, (g + 1) * width):
                plane = x[n, c]
                for i in range(plane.size):
                    total += plane[i]
            mu = total / count
            for c in range(g * width, (g + 1) * width):
                plane = x[n, c]
                for i in range(plane.size):
                    d = plane[i] - mu
                    square += d * d
            r = np.float32(1) / np.sqrt(square / count + np.float32(eps))
            for c in range(g * width, (g + 1) * width):
                plane, target = x[n, c], y[n, c]
                scale, shift = w[c] * r, b[c]
                for i in range(plane.size):
                    target[i] = scale * (plane[i] - mu) + shift


def group_norm_gradient(
    start: int, stop: int, dy: Any, x: Any, groups: int, w: Any, eps: float, dx: Any, parts: Any
) -> None:
    """dx = r (k - mean k - h mean(k h)), k = w dy; parts hold a sample's dw and db."""
    width = x.shape[1] // groups
    count = np.float32(width * x.shape[2])
    for n in range(start, stop):
        for g in range(groups):
            total = square = k_sum = kd_sum = ZERO
            for c in range(g * width, (g + 1) * width):
                plane = x[n, c]
                for i in range(plane.size):
                    total += plane[i]
            mu = total / count
            for c in range(g * width, (g + 1) * width):
                plane, up = x[n, c], dy[n, c]
                part = part_dot = ZERO
                for i in range(plane.size):
                    d = plane[i] - mu
                    square += d * d
                    part += up[i]
                    part_dot += up[i] * d
                k_sum += w[c] * part
                kd_sum += w[c] * part_dot
                parts[0, n, c] = part_dot
                parts[1, n, c] = part
            r = np.float32(1) / np.sqrt(square / count + np.float32(eps))
            mean_k, slope = k_sum / count, r * r * kd_sum / count
            for c in range(g * width, (g + 1) * width):
                plane, up, target = x[n, c], dy[n, c], dx[n, c]
                scale = w[c]
                parts[0, n, c] *= r
                for i in range(plane.size):
                    target[i] = r * (scale * up[i] - mean_k - (plane[i] - mu) * slope)


# --- group_norm with channels innermost: x (N, M, C); sums over a sample stand in an array, one a channel


def group_norm_rows(start: int, stop: int, x: Any, groups: int, w: Any, b: Any, eps: float, y: Any) -> None:
    """y = w (x - mu) r + b, mu and r of each sample's group of channels."""
    channels = x.shape[2]
    width = channels // groups
    count = np.float32(x.shape[1] * width)
    mu, scale = np.empty(channels, np.float32), np.empty(channels, np.float32)
    of_group = np.empty(groups, np.float32)
    for n in range(start, stop):
        mu[:] = scale[:] = of_group[:] = ZERO
        for m in range(x.shape[1]):
            row = x[n, m]
            for c in range(row.size):
                mu[c] += row[c]
        for c in range(channels):
            of_group[c // width] += mu[c]
        for c in range(channels):
            mu[c] = of_group[c // width] / count
        for m in range(x.shape[1]):
            row = x[n, m]
            for c in range(row.size):
                d = row[c] - mu[c]
                scale[c] += d * d
        of_group[:] = ZERO
        for c in range(channels):
            of_group[c // width] += scale[c]
        for c in range(channels):
            scale[c] = w[c] / np.sqrt(of_group[c // width] / count + np.float32(eps))
        for m in range(x.shape[1]):
            row, target = x[n, m], y[n, m]
            for c in range(row.size):
                target[c] = scale[c] * (row[c] - mu[c]) + b[c]


def group_norm_rows_gradient(
    start: int, stop: int, dy: Any, x: Any, groups: int, w: Any, eps: float, dx: Any, parts: Any
) -> None:
    """dx = r (k - mean k - h mean(k h)), k = w dy; parts hold a sample's dw and db."""
    channels = x.shape[2]
    width = channels // groups
    count = np.float32(x.shape[1] * width)
    mu, a = np.empty(channels, np.float32), np.empty(channels, np.float32)
    b, c0 = np.empty(channels, np.float32), np.empty(channels, np.float32)
    of_group = np.empty((3, groups), np.float32)
    for n in range(start, stop):
        square, dots, sums = a, parts[0, n], parts[1, n]
        mu[:] = square[:] = dots[:] = sums[:] = ZERO
        of_group[:] = ZERO
        for m in range(x.shape[1]):
            row = x[n, m]
            for c in range(row.size):
                mu[c] += row[c]
        for c in range(channels):
            of_group[0, c // width] += mu[c]
        for c in range(channels):
            mu[c] = of_group[0, c // width] / count
        for m in range(x.shape[1]):
            row, up = x[n, m], dy[n, m]
            for c in range(row.size):
                d = row[c] - mu[c]
                square[c] += d * d
                sums[c] += up[c]
                dots[c] += up[c] * d
        of_group[0] = ZERO
        for c in range(channels):
            g = c // width
            of_group[0, g] += square[c]
            of_group[1, g] += w[c] * sums[c]
            of_group[2, g] += w[c] * dots[c]
        for c in range(channels):  # dx = a dy + b x + c0
            g = c // width
            r = np.float32(1) / np.sqrt(of_group[0, g] / count + np.float32(eps))
            a[c] = r * w[c]
            b[c] = -r * r * r * of_group[2, g] / count
            c0[c] = -r * of_group[1, g] / count
            dots[c] *= r
        for m in range(x.shape[1]):
            row, up, target = x[n, m], dy[n, m], dx[n, m]
            for c in range(row.size):
                target[c] = a[c] * up[c] + b[c] * (row[c] - mu[c]) + c0[c]
