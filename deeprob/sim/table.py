"""The table and what lies behind it, in numba.

The table is never rasterised: with q(u, v) = -ray_z / eye_z its inverse depth is affine in the pixel, and so
is everything on it times q (a homography). Whole rows are drawn, in passes that are vectorised or look up one
table each; the objects are drawn over them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprob.geometry.kernel import F32, F64, I64, U32, inlined, kernel
from deeprob.geometry.raster import NOBODY, Buffers
from deeprob.sim.light import Lighting, pack, reach
from deeprob.sim.textures import halving


class Surface(NamedTuple):
    """The table top and what lies behind it.

    half (2,): half extents in metres, 0 for no table; up: the share of the lamp that meets it. texels uint32
    (T,), mips int64 (LEVELS, 3): as in Meshes, one texture. turn (2, 3): from a point (x, y, 1) of the table
    to texels. tint (3,). background uint32 (H, W), red in the lowest byte, repeated from `shift` (2,) pixels,
    times background_tint (3,), exposure included.
    """

    half: F64
    up: float
    texels: U32
    mips: I64
    turn: F64
    tint: F64
    background: U32
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
    eye: F64, ray: F64, table: Surface, light: Lighting, buffers: Buffers, picture: U32, depth: F32
) -> None:
    """Draw the table and the background wherever no object is nearer; those pixels become NOBODY's.

    eye (3,), ray (3, 3): world ray = ray @ (u, v, 1), of unit length along the optical axis. picture uint32
    (H, W), depth float32 (H, W): every pixel of both is written.
    """
    height, width = depth.shape
    q = -ray[2] / eye[2]  # inverse depth of the plane z = 0
    X, Y = ray[0] + eye[0] * q, ray[1] + eye[1] * q  # times the depth: the point on the plane
    S = table.turn[0, 0] * X + table.turn[0, 1] * Y + table.turn[0, 2] * q
    T = table.turn[1, 0] * X + table.turn[1, 1] * Y + table.turn[1, 2] * q
    U = light.to_shadow[0, :3] + light.to_shadow[0, 3] * q
    V = light.to_shadow[1, :3] + light.to_shadow[1, 3] * q
    per_pixel = np.sqrt(abs(S[0] * T[1] - S[1] * T[0]))  # texels a pixel, over the squared depth
    size = light.shadow.shape[0] - 1.0
    colors, cells = np.empty(width, np.uint32), np.empty(width, np.int32)
    lamps, shares = np.empty(width, np.float32), np.empty(width, np.float32)
    columns, one, zero = np.arange(width).astype(np.float32), np.float32(1), np.float32(0)
    dark, none = table.tint * light.ambient, np.zeros(3)
    bright = table.tint * light.diffuse * table.up
    # Loops over local numbers of 32 bits are vectorised, eight pixels at a time.
    qx, sx, tx = np.float32(q[0]), np.float32(S[0]), np.float32(T[0])
    for y in range(height):
        rest = q[1] * y + q[2]
        xr, yr = X[1] * y + X[2], Y[1] * y + Y[2]
        a, b = _half_line(rest, q[0], 0.0, width - 1.0)
        a, b = _half_line(table.half[0] * rest - xr, table.half[0] * q[0] - X[0], a, b)
        a, b = _half_line(table.half[0] * rest + xr, table.half[0] * q[0] + X[0], a, b)
        a, b = _half_line(table.half[1] * rest - yr, table.half[1] * q[0] - Y[0], a, b)
        a, b = _half_line(table.half[1] * rest + yr, table.half[1] * q[0] + Y[0], a, b)
        first, end = (int(np.ceil(a)), int(np.floor(b)) + 1) if a <= b else (width, width)
        first, end = min(first, width), max(min(first, width), end)
        shares[:] = one
        _draw_background(table, none, light, y, 0, first, shares, picture[y], depth[y])
        _draw_background(table, none, light, y, end, width, shares, picture[y], depth[y])
        if first == end:
            continue
        middle = 1.0 / (rest + q[0] * 0.5 * (a + b))
        level = halving(per_pixel * middle)
        start, high, wide = table.mips[level, 0], table.mips[level, 1], table.mips[level, 2]
        texels = table.texels[start : start + high * wide]
        owners, inverses = buffers.owner[y, first:end], buffers.inverse_depth[y, first:end]
        xs, zs = columns[first:end], depth[y, first:end]
        found, lamp = colors[first:end], lamps[first:end]
        qr, scale = np.float32(rest), np.float32(1.0 / (1 << level))
        sr, tr = np.float32(S[1] * y + S[2]), np.float32(T[1] * y + T[2])
        for n in range(end - first):
            z = one / (qr + qx * xs[n])
            s, t = (sr + sx * xs[n]) * (z * scale), (tr + tx * xs[n]) * (z * scale)
            i, j = np.int32(np.floor(t)) & np.int32(high - 1), np.int32(np.floor(s)) & np.int32(wide - 1)
            found[n] = i * np.int32(wide) + j
            zs[n] = z
        under = 0
        for n in range(end - first):
            inverse = inverses[n]
            nearer = inverse >= qr + qx * xs[n]
            lamp[n] = zero if nearer else one
            under += 1 if (inverse > zero) & (not nearer) else 0
        if under > 0:  # of something that sinks into the table
            for n in range(end - first):
                owners[n] = owners[n] if lamp[n] == zero else np.uint8(NOBODY)
        for n in range(end - first):
            found[n] = texels[found[n]]
        c, d = _half_line(U[1] * y + U[2], U[0], a, b)  # the part of the row that the shadow map spans
        c, d = _half_line(V[1] * y + V[2], V[0], c, d)
        c, d = _half_line(size * rest - U[1] * y - U[2], size * q[0] - U[0], c, d)
        c, d = _half_line(size * rest - V[1] * y - V[2], size * q[0] - V[0], c, d)
        if c <= d:
            left, right = int(np.ceil(c)), int(np.floor(d)) + 1
            reach(light, left, right, y, columns, depth[y], lamps, cells, shares)
        _paint(found, dark, bright, shares[first:end], light.offset, picture[y, first:end])


@inlined
def _paint(colors: U32, dark: F64, lamp: F64, shares: F32, offset: float, pixels: U32) -> None:
    """Write colours (n,) times dark (3,) and, where `shares` (n,) of the lamp arrive, lamp (3,)."""
    dr, dg, db = np.float32(dark[0]), np.float32(dark[1]), np.float32(dark[2])
    lr, lg, lb = np.float32(lamp[0]), np.float32(lamp[1]), np.float32(lamp[2])
    base = np.float32(offset)
    for n in range(len(pixels)):
        color, share = np.int32(colors[n]), shares[n]
        red, green, blue = color & 255, color >> 8 & 255, color >> 16 & 255
        pixels[n] = pack(
            np.float32(np.int32(red)) * (dr + lr * share) + base,
            np.float32(np.int32(green)) * (dg + lg * share) + base,
            np.float32(np.int32(blue)) * (db + lb * share) + base,
        )


@inlined
def _draw_background(
    table: Surface,
    none: F64,
    light: Lighting,
    y: int,
    first: int,
    end: int,
    shares: F32,
    pixels: U32,
    depth: F32,
) -> None:
    """Draw what is no table in row y, from pixel `first` to the one before `end`: a tile after the other."""
    tiles_high, tiles_wide = table.background.shape
    row = table.background[(y + table.shift[0]) % tiles_high]
    x = first
    while x < end:
        column = (x + table.shift[1]) % tiles_wide
        stop = min(end, x + tiles_wide - column)
        _paint(
            row[column : column + stop - x],
            table.background_tint,
            none,
            shares[x:stop],
            light.offset,
            pixels[x:stop],
        )
        x = stop
    depth[first:end] = 0.0
