"""Loops of poses that are refined: one pass over the pixels that adds up a term's loss and normal equations.

Of every pixel (or silhouette) a row J, how what it shows changes with the six motions xi = (v, w) about the
place c, and how far r it is off:  loss += Huber(r),  N += w J J^T,  g += w J r. The formulas stand in
models/pose/normal.py, in the same letters; here J comes from geometry, pixel by pixel, where there six
derivatives of the whole picture are drawn.

    p = z ray, a point on the plane through a face of normal n that the pixel's ray = K^-1 (x, y, 1) meets
    dz = n . (v + w x (p - c)) / n . ray          dX = R^T (ray dz - v - w x (p - c)), X: the object's point
"""

from typing import Any

import numpy as np

from .render import _reach

STEEP = 0.05  # of the cosine between a face's normal and the ray: below, a pixel tells no motion


def project(
    start: int, stop: int, vertices: Any, T: Any, K: Any, camera: Any, points: Any, drawn: Any
) -> None:
    """Vertices (V, 3) to the camera's frame (V, 3), to (1, V, 3) u, v, z, and (5, V) as `draw` takes them."""
    for i in range(len(vertices)):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        for a in range(3):
            camera[i, a] = T[a, 0] * x + T[a, 1] * y + T[a, 2] * z + T[a, 3]
        for a in range(3):
            drawn[a, i] = K[a, 0] * camera[i, 0] + K[a, 1] * camera[i, 1] + K[a, 2] * camera[i, 2]
        drawn[3, i], drawn[4, i] = drawn[0, i] / drawn[2, i], drawn[1, i] / drawn[2, i]
        points[0, i, 0], points[0, i, 1], points[0, i, 2] = drawn[3, i], drawn[4, i], drawn[2, i]


def planes(start: int, stop: int, camera: Any, faces: Any, visible: Any, back: Any, out: Any) -> None:
    """Of each shown pixel, out (H, W, 8): z, n / (n . ray), p, |cos| of normal and ray. back: K^-1."""
    for y in range(visible.shape[0]):
        for x in range(visible.shape[1]):
            f = visible[y, x]
            if f < 0:
                continue
            p, q, r = camera[faces[f, 0]], camera[faces[f, 1]], camera[faces[f, 2]]
            ax, ay, az = q[0] - p[0], q[1] - p[1], q[2] - p[2]
            bx, by, bz = r[0] - p[0], r[1] - p[1], r[2] - p[2]
            nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            rx = back[0, 0] * x + back[0, 1] * y + back[0, 2]
            ry = back[1, 0] * x + back[1, 1] * y + back[1, 2]
            along = nx * rx + ny * ry + nz
            z = (nx * p[0] + ny * p[1] + nz * p[2]) / along
            at = out[y, x]
            at[0] = z
            at[1], at[2], at[3] = nx / along, ny / along, nz / along
            at[4], at[5], at[6] = z * rx, z * ry, z
            size = np.sqrt((nx * nx + ny * ny + nz * nz) * (rx * rx + ry * ry + 1.0))
            at[7] = abs(along) / size


def _huber(r: float, beta: float) -> float:
    """r^2 / (2 beta) near 0, |r| - beta / 2 beyond."""
    a = abs(r)
    return r * r / (2.0 * beta) if a < beta else a - 0.5 * beta


def _add(row: Any, r: float, w: float, N: Any, g: Any) -> None:
    """N += w J J^T, its upper half, and g += w J r."""
    for i in range(6):
        s = w * row[i]
        g[i] += s * r
        for j in range(i, 6):
            N[i, j] += s * row[j]


def _moment(row: Any, a: Any, p: Any, c: Any) -> None:
    """The row of a . (v + w x (p - c)): (a, (p - c) x a)."""
    qx, qy, qz = p[0] - c[0], p[1] - c[1], p[2] - c[2]
    row[0], row[1], row[2] = a[0], a[1], a[2]
    row[3], row[4], row[5] = qy * a[2] - qz * a[1], qz * a[0] - qx * a[2], qx * a[1] - qy * a[0]


def depth_term(
    start: int,
    stop: int,
    visible: Any,
    plane: Any,
    c: Any,
    seen: Any,
    mask: Any,
    limit: float,
    beta: float,
    hidden: Any,
    sums: Any,
    N: Any,
    g: Any,
) -> None:
    """sums: loss, pixels counted. hidden: what lies before the object. mask: (0, 0) where none is known."""
    row, masked = np.empty(6), mask.shape[0] > 0
    for y in range(visible.shape[0]):
        for x in range(visible.shape[1]):
            hidden[y, x] = False
            if visible[y, x] < 0 or not seen[y, x] > 0.0:
                continue
            at = plane[y, x]
            r = at[0] - seen[y, x]
            hidden[y, x] = r > limit
            if not abs(r) <= limit or (masked and mask[y, x] < 0.5):
                continue
            sums[0] += _huber(r, beta)
            sums[1] += 1.0
            if at[7] < STEEP:
                continue
            _moment(row, at[1:4], at[4:7], c)
            _add(row, r, at[7] * at[7] / max(abs(r) * at[7], beta), N, g)


def mask_term(
    start: int,
    stop: int,
    visible: Any,
    points: Any,
    camera: Any,
    K: Any,
    c: Any,
    crossings: Any,
    shares: Any,
    count: int,
    mask: Any,
    aim: Any,
    hidden: Any,
    m: Any,
    slot: Any,
    rows: Any,
    sums: Any,
    N: Any,
    g: Any,
) -> None:
    """sums: loss. m, slot (H, W) and rows (.., 6): memory; slot holds -1 before and after."""
    height, width = visible.shape
    flat_m, flat_slot, flat_mask, flat_aim = (
        m.reshape(-1),
        slot.reshape(-1),
        mask.reshape(-1),
        aim.reshape(-1),
    )
    flat_hidden, flat_visible = hidden.reshape(-1), visible.reshape(-1)
    for n in range(len(flat_m)):
        flat_m[n] = 1.0 if flat_visible[n] >= 0 else 0.0
    used, row, along = 0, np.empty(6), np.empty(3)
    ends = points.reshape(-1, 3)
    for k in range(count):
        a, b = crossings[k, 0], crossings[k, 1]
        if flat_visible[b] >= 0:
            continue
        d, sign, r, slope, axis = _reach(ends, crossings, k, height, width)
        target = b if d > 0.5 else a
        if flat_slot[target] < 0:
            flat_slot[target] = used
            rows[used] = 0.0
            used += 1
        held = rows[flat_slot[target]]
        flat_m[target] += shares[k] * (d - 0.5)
        for end in range(2):
            i = crossings[k, 2 + end]
            weight = sign * shares[k] * (r if end else 1.0 - r) / ends[i, 2]
            for t in range(3):
                along[t] = weight * (
                    (K[axis, t] - ends[i, axis] * K[2, t])
                    - slope * (K[1 - axis, t] - ends[i, 1 - axis] * K[2, t])
                )
            _moment(row, along, camera[i], c)
            for t in range(6):
                held[t] += row[t]
    for n in range(len(flat_m)):
        at = flat_slot[n]
        flat_slot[n] = -1
        if flat_hidden[n] or not flat_mask[n] >= 0.0:
            continue
        r = flat_m[n] - flat_mask[n]
        sums[0] += _huber(r, 1.0)
        if at >= 0:
            far = flat_m[n] - flat_aim[n]
            _add(rows[at], far, 1.0 / max(abs(far), 1.0), N, g)


def attributes(
    start: int, stop: int, a: Any, camera: Any, faces: Any, visible: Any, plane: Any, y: Any
) -> None:
    """What the faces' corners say, a (F, 3, C), at pixels: y (H, W, C)."""
    for v in range(visible.shape[0]):
        for u in range(visible.shape[1]):
            f = visible[v, u]
            if f < 0:
                continue
            p, q, r, at = camera[faces[f, 0]], camera[faces[f, 1]], camera[faces[f, 2]], plane[v, u]
            ax, ay, az = q[0] - p[0], q[1] - p[1], q[2] - p[2]
            bx, by, bz = r[0] - p[0], r[1] - p[1], r[2] - p[2]
            dx, dy, dz = at[4] - p[0], at[5] - p[1], at[6] - p[2]
            aa, ab, bb = ax * ax + ay * ay + az * az, ax * bx + ay * by + az * bz, bx * bx + by * by + bz * bz
            da, db = dx * ax + dy * ay + dz * az, dx * bx + dy * by + dz * bz
            share = 1.0 / (aa * bb - ab * ab)
            s, t = (bb * da - ab * db) * share, (aa * db - ab * da) * share
            for k in range(a.shape[2]):
                y[v, u, k] = a[f, 0, k] + s * (a[f, 1, k] - a[f, 0, k]) + t * (a[f, 2, k] - a[f, 0, k])


def light(
    start: int, stop: int, y: Any, on: Any, seen: Any, ridge: float, least: float, largest: float, goal: Any
) -> None:
    """goal: the seen colours under the light that the drawn ones are under, by least squares."""
    count = 0.0
    for v in range(on.shape[0]):
        for u in range(on.shape[1]):
            count += 1.0 if on[v, u] else 0.0
    some = max(count, 1.0)
    for k in range(y.shape[2]):
        here = there = 0.0
        for v in range(on.shape[0]):
            for u in range(on.shape[1]):
                if on[v, u]:
                    here += y[v, u, k]
                    there += seen[v, u, k]
        here, there = here / some, there / some
        gain = spread = 0.0
        for v in range(on.shape[0]):
            for u in range(on.shape[1]):
                if on[v, u]:
                    apart = y[v, u, k] - here
                    gain += apart * (seen[v, u, k] - there)
                    spread += apart * apart
        gain = min(max(gain / (spread + ridge * some), least), largest)
        for v in range(on.shape[0]):
            for u in range(on.shape[1]):
                if on[v, u]:
                    goal[v, u, k] = (seen[v, u, k] - there) / gain + here


def attribute_term(
    start: int,
    stop: int,
    a: Any,
    camera: Any,
    faces: Any,
    visible: Any,
    plane: Any,
    c: Any,
    on: Any,
    y: Any,
    goal: Any,
    beta: float,
    sums: Any,
    N: Any,
    g: Any,
) -> None:
    """sums: loss. a (F, 3, C), y and goal (H, W, C)."""
    row, grad, along = np.empty(6), np.empty(3), np.empty(3)
    for v in range(visible.shape[0]):
        for u in range(visible.shape[1]):
            if not on[v, u]:
                continue
            f, at = visible[v, u], plane[v, u]
            p, q, r = camera[faces[f, 0]], camera[faces[f, 1]], camera[faces[f, 2]]
            ax, ay, az = q[0] - p[0], q[1] - p[1], q[2] - p[2]
            bx, by, bz = r[0] - p[0], r[1] - p[1], r[2] - p[2]
            aa, ab, bb = ax * ax + ay * ay + az * az, ax * bx + ay * by + az * bz, bx * bx + by * by + bz * bz
            share = 1.0 / (aa * bb - ab * ab)
            for k in range(a.shape[2]):
                off = y[v, u, k] - goal[v, u, k]
                sums[0] += _huber(off, beta)
                if at[7] < STEEP:
                    continue
                s, t = a[f, 1, k] - a[f, 0, k], a[f, 2, k] - a[f, 0, k]
                e, h = (bb * s - ab * t) * share, (aa * t - ab * s) * share
                grad[0], grad[1], grad[2] = e * ax + h * bx, e * ay + h * by, e * az + h * bz
                onray = (grad[0] * at[4] + grad[1] * at[5] + grad[2] * at[6]) / at[0]
                for t_ in range(3):
                    along[t_] = onray * at[1 + t_] - grad[t_]
                _moment(row, along, at[4:7], c)
                _add(row, off, at[7] * at[7] / max(abs(off), beta), N, g)
