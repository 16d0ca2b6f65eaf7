"""The loops of batch normalisation over maps that lie in planes (N, C, M); loops.py runs them."""

from typing import Any

import numpy as np

from .half import narrow, widen
from .loops import ZERO

ONE = np.float32(1)


def plane_moments(start: int, stop: int, x: Any, mean: Any, var: Any) -> None:
    """Mean and biased variance of every channel."""
    count = x.shape[0] * x.shape[2]
    for c in range(start, stop):
        centre = widen(x[0, c, 0])  # near the mean: squares lose no digits
        total: Any = 0.0
        square: Any = 0.0
        for n in range(x.shape[0]):
            plane = x[n, c]
            part = part_square = ZERO
            for i in range(plane.size):
                d = widen(plane[i]) - centre
                part += d
                part_square += d * d
            total += part
            square += part_square
        offset = total / count
        mean[c] = centre + offset
        var[c] = max(square / count - offset * offset, 0.0)


def plane_normalise(
    start: int, stop: int, x: Any, w: Any, b: Any, mean: Any, var: Any, eps: float, y: Any
) -> None:
    """y = w (x - mu) r + b; start and stop count planes."""
    for p in range(start, stop):
        n, c = divmod(p, x.shape[1])
        source, target = x[n, c], y[n, c]
        scale = ONE / np.sqrt(var[c] + np.float32(eps))
        if w is not None:
            scale *= w[c]
        shift = -mean[c] * scale
        if b is not None:
            shift += b[c]
        for i in range(source.size):
            target[i] = narrow(scale * widen(source[i]) + shift, target)


def plane_gradient(
    start: int,
    stop: int,
    dy: Any,
    x: Any,
    w: Any,
    mean: Any,
    var: Any,
    eps: float,
    training: bool,
    dx: Any,
    dw: Any,
    db: Any,
) -> None:
    """dx, dw and db channel by channel, its planes still in the cache when dx is written."""
    count = x.shape[0] * x.shape[2]
    for c in range(start, stop):
        k = mean[c]
        total, dot = sum_and_dot(dy, x, c, k)
        r = 1.0 / np.sqrt(np.float64(var[c]) + eps)
        db[c], dw[c] = total, dot * r
        a = r
        if w is not None:
            a *= w[c]
        scale = np.float32(a)
        if training:
            b = -a * r * r * dot / count
            slope, shift = np.float32(b), np.float32(-a * total / count - b * k)
            for n in range(x.shape[0]):
                plane, upstream, target = x[n, c], dy[n, c], dx[n, c]
                for i in range(plane.size):
                    target[i] = narrow(scale * widen(upstream[i]) + slope * widen(plane[i]) + shift, target)
        else:
            for n in range(x.shape[0]):
                upstream, target = dy[n, c], dx[n, c]
                for i in range(upstream.size):
                    target[i] = narrow(scale * widen(upstream[i]), target)


def plane_dots(start: int, stop: int, dy: Any, x: Any, centre: Any, total: Any, dot: Any) -> None:
    """Sum dy and dy (x - centre) over every channel."""
    for c in range(start, stop):
        total[c], dot[c] = sum_and_dot(dy, x, c, centre[c])


def sum_and_dot(dy: Any, x: Any, c: int, centre: Any) -> Any:
    """Sum dy and dy (x - centre) over channel c, in float64 from plane to plane."""
    total: Any = 0.0
    dot: Any = 0.0
    for n in range(x.shape[0]):
        plane, upstream = x[n, c], dy[n, c]
        part = part_dot = ZERO
        for i in range(plane.size):
            d = widen(upstream[i])
            part += d
            part_dot += d * (widen(plane[i]) - centre)
        total += part
        dot += part_dot
    return total, dot


def plane_combine(start: int, stop: int, dy: Any, x: Any, a: Any, b: Any, c0: Any, dx: Any) -> None:
    """dx = a dy + b x + c0 a channel; start and stop count planes."""
    for p in range(start, stop):
        n, c = divmod(p, x.shape[1])
        source, upstream, target = x[n, c], dy[n, c], dx[n, c]
        scale, slope, shift = a[c], b[c], c0[c]
        for i in range(source.size):
            target[i] = narrow(scale * widen(upstream[i]) + slope * widen(source[i]) + shift, target)
