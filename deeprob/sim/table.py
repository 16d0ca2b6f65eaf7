"""The table and what lies behind it, in numba.

The table is never rasterised: with q(u, v) = -ray_z / eye_z its inverse depth is affine in the pixel, and so
is everything on it times q (a homography). Whole rows are drawn, in passes that are vectorised or look up one
table each; the objects are drawn over them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprob.sim.kernel import F32, F64, I64, U8, U32, inlined, kernel
from deeprob.sim.raster import NOBODY, Buffers
from deeprob.sim.shade import Lighting, grey, halving
from deeprob.sim.shadow import lit


class Surface(NamedTuple):
    """The table top and what lies behind it.

    half (2,): half extents in metres, 0 for no table. texels uint32 (T,), mips int64 (LEVELS, 3): as in
    Meshes, one texture. turn (2, 3): from a point (x, y, 1) of the table to texels. tint (3,). background
    uint8 (H, W, 3), repeated from `shift` (2,), times background_tint (3,).
    """

    half: F64
    texels: U32
    mips: I64
    turn: F64
    tint: F64
    background: U8
    shift: I64
    background_tint: F64


@inlined
def _half_line(at_zero: float, slope: float, x0: float, x1: float) -> tuple[float, float]:
    """The part of [x0, x1] where at_zero + slope x >= 0; empty is x0 > x1."""
    if slope == 0.0:
        return (x0, x1) if at_zero >= 0.0 else (1.0, 0.0)
    root = -at_zero / slope
    return (max(x0, root), x1) if slope > 0.0 else (x0, min(x1, root))


@kernel
def shade_table(
    eye: F64, ray: F64, table: Surface, light: Lighting, buffers: Buffers, image: U8, depth: F32
) -> None:
    """Draw the table and the background wherever no object is nearer; those pixels become NOBODY's.

    eye (3,), ray (3, 3): world ray = ray @ (u, v, 1), of unit length along the optical axis.
    """
    owner, inverse_depth = buffers.owner, buffers.inverse_depth
    height, width = owner.shape
    q = -ray[2] / eye[2]  # inverse depth of the plane z = 0
    X, Y = ray[0] + eye[0] * q, ray[1] + eye[1] * q  # times the depth: the point on the plane
    S = table.turn[0, 0] * X + table.turn[0, 1] * Y + table.turn[0, 2] * q
    T = table.turn[1, 0] * X + table.turn[1, 1] * Y + table.turn[1, 2] * q
    M = light.to_shadow
    U = M[0, 0] * X + M[0, 1] * Y + M[0, 3] * q
    V = M[1, 0] * X + M[1, 1] * Y + M[1, 3] * q
    H = M[2, 0] * X + M[2, 1] * Y + (M[2, 3] + light.bias) * q
    bright, dark, behind = _grey_tables(table, light)
    per_pixel = np.sqrt(abs(S[0] * T[1] - S[1] * T[0]))  # texels a pixel, over the squared depth
    size = light.shadow.shape[0] - 1.0
    texels, cells, heights = (
        np.empty(width, np.uint32),
        np.empty(width, np.uint32),
        np.empty(width, np.float32),
    )
    roofs, across = light.roof.reshape(-1), np.int32(light.roof.shape[1])
    columns, one, none = np.arange(width).astype(np.float32), np.float32(1), np.float32(0)
    limit, never = np.float32(size), np.float32(np.inf)
    qx, ux, vx = q[0], U[0], V[0]
    # Loops over local numbers of 32 bits are vectorised, eight pixels at a time.
    q_x, s_x, t_x = np.float32(q[0]), np.float32(S[0]), np.float32(T[0])
    u_x, v_x, h_x = np.float32(U[0]), np.float32(V[0]), np.float32(H[0])
    for y in range(height):
        rest = q[1] * y + q[2]
        xr, yr = X[1] * y + X[2], Y[1] * y + Y[2]
        a, b = _half_line(rest, qx, 0.0, width - 1.0)
        a, b = _half_line(table.half[0] * rest - xr, table.half[0] * qx - X[0], a, b)
        a, b = _half_line(table.half[0] * rest + xr, table.half[0] * qx + X[0], a, b)
        a, b = _half_line(table.half[1] * rest - yr, table.half[1] * qx - Y[0], a, b)
        a, b = _half_line(table.half[1] * rest + yr, table.half[1] * qx + Y[0], a, b)
        first, last = (int(np.ceil(a)), int(np.floor(b))) if a <= b else (width, -1)
        sr, tr, ur, vr, hr = (
            S[1] * y + S[2],
            T[1] * y + T[2],
            U[1] * y + U[2],
            V[1] * y + V[2],
            H[1] * y + H[2],
        )
        c, d = _half_line(ur, ux, a, b)  # the part of the row that the shadow map spans
        c, d = _half_line(vr, vx, c, d)
        c, d = _half_line(size * rest - ur, size * qx - ux, c, d)
        c, d = _half_line(size * rest - vr, size * qx - vx, c, d)
        middle = 1.0 / (rest + qx * 0.5 * (a + b)) if a <= b else 1.0
        level = halving(per_pixel * middle)
        start, high, wide = table.mips[level, 0], table.mips[level, 1] - 1, table.mips[level, 2] - 1
        shrink = 1.0 / (1 << level)
        depth[y] = 0.0
        count = max(0, last + 1 - first)
        owners, inverses = owner[y, first : first + count], inverse_depth[y, first : first + count]
        zs, pixels = depth[y, first : first + count], image[y, first : first + count]
        colors = table.texels[start : start + (high + 1) * (wide + 1)]
        xs, q_0, scale = columns[first : first + count], np.float32(rest), np.float32(shrink)
        s_0, t_0 = np.float32(sr), np.float32(tr)
        for n in range(count):
            z = one / (q_0 + q_x * xs[n])
            s, t = (s_0 + s_x * xs[n]) * (z * scale), (t_0 + t_x * xs[n]) * (z * scale)
            i, j = np.int32(np.floor(t)) & np.int32(high), np.int32(np.floor(s)) & np.int32(wide)
            texels[n] = i * np.int32(wide + 1) + j
            zs[n] = z
        for n in range(count):
            hidden = inverses[n] >= q_0 + q_x * xs[n]
            owners[n] = owners[n] if hidden else np.uint8(NOBODY)
        for n in range(count):
            texel = colors[texels[n]]
            pixels[n, 0] = bright[0, texel & np.uint32(255)]
            pixels[n, 1] = bright[1, texel >> np.uint32(8) & np.uint32(255)]
            pixels[n, 2] = bright[2, texel >> np.uint32(16) & np.uint32(255)]
        if count < width:
            _draw_background(table, behind, y, first, last, image[y])
        if not c <= d:
            continue
        left, right = int(np.ceil(c)), int(np.floor(d)) + 1
        count = max(0, right - left)
        zs, pixels, owners = depth[y, left:right], image[y, left:right], owner[y, left:right]
        shaded, xs = texels[left - first : right - first], columns[left:right]
        u_0, v_0, h_0 = np.float32(ur), np.float32(vr), np.float32(hr)
        for n in range(count):
            x, z = xs[n], zs[n]
            u, v, h = (u_0 + u_x * x) * z, (v_0 + v_x * x) * z, (h_0 + h_x * x) * z
            inside = (u >= none) & (v >= none) & (u < limit) & (v < limit)
            u, v = (u, v) if inside else (none, none)
            cells[n] = np.int32(v) * across + np.int32(u)
            heights[n] = h if inside else never
        for n in range(count):
            if roofs[cells[n]] <= heights[n] or owners[n] != NOBODY:
                continue
            x, z = xs[n], zs[n]
            share = lit(light.shadow, (u_0 + u_x * x) * z, (v_0 + v_x * x) * z, heights[n])
            texel = colors[shaded[n]]
            for k in range(3):
                value = texel >> np.uint32(8 * k) & np.uint32(255)
                low = float(dark[k, value])
                pixels[n, k] = grey(low + share * (float(bright[k, value]) - low))


@inlined
def _grey_tables(table: Surface, light: Lighting) -> tuple[U8, U8, U8]:
    """The grey level that each value 0..255 of a channel (3, 256) becomes in light, shadow and background."""
    gain, offset = light.gain, light.offset
    ambient, lamp = table.tint * light.ambient * gain, table.tint * light.diffuse * (gain * light.up)
    tables = np.empty((3, 3, 256), np.uint8)
    for k in range(3):
        for value in range(256):
            tables[0, k, value] = grey(value * (ambient[k] + lamp[k]) + offset)
            tables[1, k, value] = grey(value * (ambient[k] + lamp[k] * (1.0 - light.strength)) + offset)
            tables[2, k, value] = grey(value * table.background_tint[k] * gain + offset)
    return tables[0], tables[1], tables[2]


@kernel
def _draw_background(table: Surface, greys: U8, y: int, first: int, last: int, pixels: U8) -> None:
    """Colour row y but for its pixels from `first` to `last`."""
    tiles_high, tiles_wide = table.background.shape[0], table.background.shape[1]
    tile = table.background[(y + table.shift[0]) % tiles_high]
    for x in range(len(pixels)):
        if not first <= x <= last:
            column = (x + table.shift[1]) % tiles_wide
            for k in range(3):
                pixels[x, k] = greys[k, tile[column, k]]
