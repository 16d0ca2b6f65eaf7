"""Loops of the renderer: barycentrics, attributes at pixels, and silhouettes, each with its adjoint.

Each pose is one row of the work, so that what is scattered to its vertices meets no other thread. The
formulas stand in render/rasterize.py, render/interpolate.py and render/antialias.py, in the same letters.
"""

from typing import Any

import numpy as np
from torch import Tensor

ONE, ZERO, HALF = np.float32(1), np.float32(0), np.float32(0.5)
LEAST_SHARE = 1e-3  # of an edge in one direction: it would blend nothing to speak of
BEHIND = 1 - 1e-5  # of an edge's inverse depth: what is less lies behind it


def as_faces(faces: Tensor) -> Any:
    """Return faces as the rasteriser takes them: int32."""
    return faces.detach().cpu().numpy().astype(np.int32)


def draw(draw_faces: Any, points: Any, faces: Any, near: float, cull: bool, buffers: Any) -> None:
    """Draw one mesh with points (5, V) over what the buffers hold."""
    draw_faces(points, 0, faces, 0, len(faces), near, cull, 0, np.uint32(0), 0, buffers)


def barycentrics(start: int, stop: int, points: Any, faces: Any, visible: Any, b: Any) -> None:
    """b of every pixel, 0 where nothing is shown."""
    height, width = visible.shape[1:]
    for n in range(start, stop):
        for y in range(height):
            for x in range(width):
                f = visible[n, y, x]
                if f < 0:
                    b[n, y, x, 0] = b[n, y, x, 1] = b[n, y, x, 2] = ZERO
                    continue
                p, q, r = points[n, faces[f, 0]], points[n, faces[f, 1]], points[n, faces[f, 2]]
                xs, ys = np.float32(x), np.float32(y)
                u0, v0, u1, v1, u2, v2 = p[0] - xs, p[1] - ys, q[0] - xs, q[1] - ys, r[0] - xs, r[1] - ys
                w0, w1 = (u1 * v2 - u2 * v1) / p[2], (u2 * v0 - u0 * v2) / q[2]
                w2 = (u0 * v1 - u1 * v0) / r[2]
                share = ONE / (w0 + w1 + w2)
                b[n, y, x, 0], b[n, y, x, 1], b[n, y, x, 2] = w0 * share, w1 * share, w2 * share


def barycentrics_adjoint(
    start: int, stop: int, points: Any, faces: Any, visible: Any, db: Any, dpoints: Any
) -> None:
    """Add every pixel's db to the points' gradient."""
    height, width = visible.shape[1:]
    for n in range(start, stop):
        for y in range(height):
            for x in range(width):
                f = visible[n, y, x]
                if f < 0:
                    continue
                i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                p, q, r = points[n, i], points[n, j], points[n, k]
                xs, ys = np.float32(x), np.float32(y)
                u0, v0, u1, v1, u2, v2 = p[0] - xs, p[1] - ys, q[0] - xs, q[1] - ys, r[0] - xs, r[1] - ys
                z0, z1, z2 = ONE / p[2], ONE / q[2], ONE / r[2]
                w0, w1, w2 = (u1 * v2 - u2 * v1) * z0, (u2 * v0 - u0 * v2) * z1, (u0 * v1 - u1 * v0) * z2
                share = ONE / (w0 + w1 + w2)
                d0, d1, d2 = db[n, y, x, 0], db[n, y, x, 1], db[n, y, x, 2]
                mean = (w0 * d0 + w1 * d1 + w2 * d2) * share
                s0, s1, s2 = (d0 - mean) * share * z0, (d1 - mean) * share * z1, (d2 - mean) * share * z2
                dp, dq, dr = dpoints[n, i], dpoints[n, j], dpoints[n, k]
                dp[0] += s2 * v1 - s1 * v2
                dp[1] += s1 * u2 - s2 * u1
                dp[2] -= s0 * w0
                dq[0] += s0 * v2 - s2 * v0
                dq[1] += s2 * u0 - s0 * u2
                dq[2] -= s1 * w1
                dr[0] += s1 * v0 - s0 * v1
                dr[1] += s0 * u1 - s1 * u0
                dr[2] -= s2 * w2


def interpolated(start: int, stop: int, a: Any, b: Any, faces: Any, visible: Any, out: Any) -> None:
    """out = sum_i b_i a_i."""
    height, width = visible.shape[1:]
    for n in range(start, stop):
        for y in range(height):
            for x in range(width):
                f = visible[n, y, x]
                row = out[n, y, x]
                if f < 0:
                    for c in range(row.size):
                        row[c] = ZERO
                    continue
                p, q, r = a[n, faces[f, 0]], a[n, faces[f, 1]], a[n, faces[f, 2]]
                b0, b1, b2 = b[n, y, x, 0], b[n, y, x, 1], b[n, y, x, 2]
                for c in range(row.size):
                    row[c] = b0 * p[c] + b1 * q[c] + b2 * r[c]


def interpolated_adjoint(
    start: int, stop: int, a: Any, b: Any, faces: Any, visible: Any, dy: Any, da: Any, db: Any
) -> None:
    """Add to da what every pixel says, and set db."""
    height, width = visible.shape[1:]
    for n in range(start, stop):
        for y in range(height):
            for x in range(width):
                f = visible[n, y, x]
                if f < 0:
                    db[n, y, x, 0] = db[n, y, x, 1] = db[n, y, x, 2] = ZERO
                    continue
                i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                p, q, r = a[n, i], a[n, j], a[n, k]
                dp, dq, dr = da[n, i], da[n, j], da[n, k]
                b0, b1, b2 = b[n, y, x, 0], b[n, y, x, 1], b[n, y, x, 2]
                g, d0, d1, d2 = dy[n, y, x], ZERO, ZERO, ZERO
                for c in range(g.size):
                    d0 += g[c] * p[c]
                    d1 += g[c] * q[c]
                    d2 += g[c] * r[c]
                    dp[c] += b0 * g[c]
                    dq[c] += b1 * g[c]
                    dr[c] += b2 * g[c]
                db[n, y, x, 0], db[n, y, x, 1], db[n, y, x, 2] = d0, d1, d2


def _across(points: Any, n: int, i: int, j: int, k: int) -> Any:
    """Twice the area of a triangle on the picture, signed: on which side of the edge i j vertex k lies."""
    p, q, r = points[n, i], points[n, j], points[n, k]
    return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])


def _inverse_depth(points: Any, faces: Any, visible: Any, n: int, y: int, x: int) -> Any:
    """1 / z of what a pixel shows, 0 where that is nothing: sum_i s_i / z_i over sum_i s_i."""
    f = visible[n, y, x]
    if f < 0:
        return 0.0
    p, q, r = points[n, faces[f, 0]], points[n, faces[f, 1]], points[n, faces[f, 2]]
    u0, v0, u1, v1, u2, v2 = p[0] - x, p[1] - y, q[0] - x, q[1] - y, r[0] - x, r[1] - y
    s0, s1, s2 = u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0
    return (s0 / p[2] + s1 / q[2] + s2 / r[2]) / (s0 + s1 + s2)


def cross(
    start: int,
    stop: int,
    points: Any,
    edges: Any,
    faces: Any,
    visible: Any,
    near: float,
    found: Any,
    shares: Any,
    counts: Any,
) -> None:
    """List the crossings of each pose, one at most between two pixels: the nearest."""
    height, width = visible.shape[1:]
    vertices = points.shape[1]
    nearest = np.empty((2, height, width))  # inverse depth of the crossing right of, and below, a pixel
    place = np.empty((2, height, width), np.int64)
    for n in range(start, stop):
        nearest[:] = 0.0
        count = 0
        base = n * height * width
        for e in range(len(edges)):
            i, j, k, other = edges[e, 0], edges[e, 1], edges[e, 2], edges[e, 3]
            if points[n, i, 2] < near or points[n, j, 2] < near:
                continue
            side = _across(points, n, i, j, k)
            if other >= 0 and side * _across(points, n, i, j, other) <= 0.0:
                continue
            du, dv = points[n, j, 0] - points[n, i, 0], points[n, j, 1] - points[n, i, 1]
            square = du * du + dv * dv
            if not np.isfinite(side) or not (square > 0.0):
                continue
            for axis in range(2):  # pairs side by side, and above each other
                along, rows, columns = (dv, height, width) if axis == 0 else (du, width, height)
                share = along * along / square
                if share < LEAST_SHARE:
                    continue
                p_i, q_i = points[n, i, axis], points[n, i, 1 - axis]
                slope = (du if axis == 0 else dv) / along
                low, high = min(q_i, q_i + along), max(q_i, q_i + along)
                first, last = max(0.0, np.ceil(low)), min(rows - 1.0, np.ceil(high) - 1.0)
                # the surface lies at larger p where its third corner does
                upwards = (side > 0.0) != (along > 0.0) if axis == 0 else (side > 0.0) == (along > 0.0)
                for q in range(int(first), int(last) + 1 if last >= first else int(first)):
                    c = p_i + (q - q_i) * slope
                    below = np.ceil(c) - 1.0 if upwards else np.floor(c)
                    if not (below >= 0.0 and below < columns - 1.0):
                        continue
                    p = int(below)
                    y0, x0, y1, x1 = (q, p, q, p + 1) if axis == 0 else (p, q, p + 1, q)
                    r = (q - q_i) / along
                    inverse = (1.0 - r) / points[n, i, 2] + r / points[n, j, 2]
                    if inverse <= nearest[axis, y0, x0]:
                        continue
                    here = _inverse_depth(points, faces, visible, n, y0, x0)
                    there = _inverse_depth(points, faces, visible, n, y1, x1)
                    a_depth, b_depth = (there, here) if upwards else (here, there)
                    if a_depth <= b_depth or b_depth >= inverse * BEHIND:
                        continue
                    at = count
                    if nearest[axis, y0, x0] > 0.0:
                        at = place[axis, y0, x0]
                    else:
                        count += 1
                    nearest[axis, y0, x0], place[axis, y0, x0] = inverse, at
                    one, two = base + y0 * width + x0, base + y1 * width + x1
                    found[n, at, 0] = two if upwards else one
                    found[n, at, 1] = one if upwards else two
                    found[n, at, 2], found[n, at, 3] = n * vertices + i, n * vertices + j
                    shares[n, at] = share
        counts[n] = count


def _reach(ends: Any, crossings: Any, k: int, height: int, width: int) -> Any:
    """d, the sign of p_b - p_a, r, m, and the axis of a crossing."""
    a, b = crossings[k, 0], crossings[k, 1]
    i, j = crossings[k, 2], crossings[k, 3]
    step = b - a
    axis = 0 if abs(step) == 1 else 1
    column, row = np.float32(a % width), np.float32(a // width % height)
    p_a, q_a = (column, row) if axis == 0 else (row, column)
    p_i, q_i = ends[i, axis], ends[i, 1 - axis]
    along = ends[j, 1 - axis] - q_i
    r, m = (q_a - q_i) / along, (ends[j, axis] - p_i) / along
    sign = ONE if step > 0 else -ONE
    return sign * (p_i + (q_a - q_i) * m - p_a), sign, r, m, axis


def blend(start: int, stop: int, image: Any, points: Any, crossings: Any, shares: Any, y: Any) -> None:
    """y, a copy of the image, blended at all crossings."""
    height, width, channels = image.shape[1:]
    pixels, out, ends = image.reshape(-1, channels), y.reshape(-1, channels), points.reshape(-1, 3)
    for k in range(len(crossings)):
        d, _, _, _, _ = _reach(ends, crossings, k, height, width)
        a, b = crossings[k, 0], crossings[k, 1]
        target = out[b if d > HALF else a]
        for c in range(channels):
            target[c] += shares[k] * (d - HALF) * (pixels[a, c] - pixels[b, c])


def blend_adjoint(
    start: int,
    stop: int,
    image: Any,
    points: Any,
    crossings: Any,
    shares: Any,
    dy: Any,
    dimage: Any,
    dpoints: Any,
) -> None:
    """dimage, a copy of dy, and dpoints, zeros, become the gradients."""
    height, width, channels = image.shape[1:]
    pixels, upstream = image.reshape(-1, channels), dy.reshape(-1, channels)
    dpixels, ends, dends = dimage.reshape(-1, channels), points.reshape(-1, 3), dpoints.reshape(-1, 3)
    for k in range(len(crossings)):
        d, sign, r, m, axis = _reach(ends, crossings, k, height, width)
        a, b, i, j = crossings[k, 0], crossings[k, 1], crossings[k, 2], crossings[k, 3]
        g, dd = upstream[b if d > HALF else a], ZERO
        for c in range(channels):
            moved = shares[k] * (d - HALF) * g[c]
            dpixels[a, c] += moved
            dpixels[b, c] -= moved
            dd += g[c] * (pixels[a, c] - pixels[b, c])
        dc = sign * shares[k] * dd
        dends[i, axis] += (ONE - r) * dc
        dends[j, axis] += r * dc
        dends[i, 1 - axis] -= m * (ONE - r) * dc
        dends[j, 1 - axis] -= m * r * dc
