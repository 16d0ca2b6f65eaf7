"""Shading: from what each pixel shows to its colour, its depth and the labels, in numba.

Lambert and Blinn-Phong terms of one distant lamp, ambient light, a shadow map, textures from successive
halvings. The table is never rasterised: with q(u, v) = -ray_z / eye_z its inverse depth is affine in the
pixel, and so is everything on it times q (a homography). The half vector is constant over an object: lamp and
eye are far from it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprob.sim.kernel import F32, F64, I64, U8, U32, inlined, kernel
from deeprob.sim.raster import NOBODY, Buffers, Meshes, edges
from deeprob.sim.shadow import lit
from deeprob.sim.textures import LEVELS


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


class Lighting(NamedTuple):
    """One lamp and its shadows.

    ambient, diffuse (3,); specular; up: the share of the lamp that meets a horizontal surface; strength: what
    a shadow takes; bias metres; shadow float32 (S, S), to_shadow (3, 4): world point to shadow pixel and
    height; gain, offset: exposure and contrast.
    """

    ambient: F64
    diffuse: F64
    specular: float
    up: float
    strength: float
    bias: float
    shadow: F32
    to_shadow: F64
    gain: float
    offset: float


class Bodies(NamedTuple):
    """The instances: scale (n,); to_light, to_half (n, 3), unit, in each object's frame; tint (n, 3)."""

    scale: F64
    to_light: F64
    to_half: F64
    tint: F64


@inlined
def _texel(texels: U32, mips: I64, level: int, s: float, t: float) -> tuple[float, float, float]:
    """Bilinear colour, 0..255, at (s, t) in texels of level 0, repeating, t downwards."""
    first, height, width = mips[level, 0], mips[level, 1], mips[level, 2]
    shrink = 1.0 / (1 << level)
    s, t = s * shrink - 0.5, t * shrink - 0.5
    sf, tf = np.floor(s), np.floor(t)
    s, t = s - sf, t - tf
    j0, i0 = np.int64(sf) & (width - 1), np.int64(tf) & (height - 1)
    j1, i1 = (j0 + 1) & (width - 1), (i0 + 1) & (height - 1)
    a, b = first + i0 * width, first + i1 * width
    p, q, r, w = texels[a + j0], texels[a + j1], texels[b + j0], texels[b + j1]
    wp, wq, wr, ww = (1.0 - s) * (1.0 - t), s * (1.0 - t), (1.0 - s) * t, s * t
    red = wp * (p & 255) + wq * (q & 255) + wr * (r & 255) + ww * (w & 255)
    green = wp * (p >> 8 & 255) + wq * (q >> 8 & 255) + wr * (r >> 8 & 255) + ww * (w >> 8 & 255)
    blue = wp * (p >> 16 & 255) + wq * (q >> 16 & 255) + wr * (r >> 16 & 255) + ww * (w >> 16 & 255)
    return red, green, blue


@inlined
def _level(texels_per_pixel: float) -> int:
    """The halving whose texels are about as large as a pixel."""
    level = 0
    while texels_per_pixel > 1.5 and level < LEVELS - 1:
        texels_per_pixel *= 0.5
        level += 1
    return level


@inlined
def _grey(value: float) -> np.uint8:
    """A colour value as uint8, clipped and rounded."""
    return np.uint8(min(max(value, 0.0), 255.0) + 0.5)


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
    gain, offset = light.gain, light.offset
    q = -ray[2] / eye[2]  # inverse depth of the plane z = 0
    X, Y = ray[0] + eye[0] * q, ray[1] + eye[1] * q  # times the depth: the point on the plane
    S = table.turn[0, 0] * X + table.turn[0, 1] * Y + table.turn[0, 2] * q
    T = table.turn[1, 0] * X + table.turn[1, 1] * Y + table.turn[1, 2] * q
    M = light.to_shadow
    U = M[0, 0] * X + M[0, 1] * Y + M[0, 3] * q
    V = M[1, 0] * X + M[1, 1] * Y + M[1, 3] * q
    H = M[2, 0] * X + M[2, 1] * Y + (M[2, 3] + light.bias) * q
    ambient, lamp = table.tint * light.ambient * gain, table.tint * light.diffuse * (gain * light.up)
    shades, behind = np.empty((2, 3, 256), np.uint8), np.empty((3, 256), np.uint8)
    for k in range(3):
        for value in range(256):  # a texel's colour in the light, in the shadow, and the background's
            shades[0, k, value] = _grey(value * (ambient[k] + lamp[k]) + offset)
            shades[1, k, value] = _grey(value * (ambient[k] + lamp[k] * (1.0 - light.strength)) + offset)
            behind[k, value] = _grey(value * table.background_tint[k] * gain + offset)
    per_pixel = np.sqrt(abs(S[0] * T[1] - S[1] * T[0]))  # texels a pixel, over the squared depth
    tiles_high, tiles_wide = table.background.shape[0], table.background.shape[1]
    size = light.shadow.shape[0] - 1.0
    zs, texels = np.empty(width, np.float32), np.empty(width, np.int32)
    for y in range(height):
        rest = q[1] * y + q[2]
        xr, yr = X[1] * y + X[2], Y[1] * y + Y[2]
        a, b = _half_line(rest, q[0], 0.0, width - 1.0)
        a, b = _half_line(table.half[0] * rest - xr, table.half[0] * q[0] - X[0], a, b)
        a, b = _half_line(table.half[0] * rest + xr, table.half[0] * q[0] + X[0], a, b)
        a, b = _half_line(table.half[1] * rest - yr, table.half[1] * q[0] - Y[0], a, b)
        a, b = _half_line(table.half[1] * rest + yr, table.half[1] * q[0] + Y[0], a, b)
        first, last = (int(np.ceil(a)), int(np.floor(b))) if a <= b else (width, -1)
        sr, tr, ur, vr, hr = (
            S[1] * y + S[2],
            T[1] * y + T[2],
            U[1] * y + U[2],
            V[1] * y + V[2],
            H[1] * y + H[2],
        )
        c, d = _half_line(ur, U[0], a, b)  # the part of the row that the shadow map spans
        c, d = _half_line(vr, V[0], c, d)
        c, d = _half_line(size * rest - ur, size * q[0] - U[0], c, d)
        c, d = _half_line(size * rest - vr, size * q[0] - V[0], c, d)
        middle = 1.0 / (rest + q[0] * 0.5 * (a + b)) if a <= b else 1.0
        level = _level(per_pixel * middle)
        start, high, wide = table.mips[level, 0], table.mips[level, 1] - 1, table.mips[level, 2] - 1
        shrink = 1.0 / (1 << level)
        row = (y + table.shift[0]) % tiles_high
        for x in range(first, last + 1):  # a loop without branches, so that it is vectorised
            z = 1.0 / (rest + q[0] * x)
            s, t = (sr + S[0] * x) * (z * shrink), (tr + T[0] * x) * (z * shrink)
            i, j = np.int32(np.floor(t)) & np.int32(high), np.int32(np.floor(s)) & np.int32(wide)
            texels[x] = i * np.int32(wide + 1) + j
            zs[x] = z
        for x in range(width):
            if first <= x <= last:
                inverse = rest + q[0] * x
                if owner[y, x] != NOBODY and inverse_depth[y, x] >= inverse:
                    continue
                share = 1.0
                if c <= x <= d:
                    z = zs[x]
                    share = lit(light.shadow, (ur + U[0] * x) * z, (vr + V[0] * x) * z, (hr + H[0] * x) * z)
                texel = table.texels[start + texels[x]]
                for k in range(3):
                    value = texel >> (8 * k) & 255
                    if share == 1.0:
                        image[y, x, k] = shades[0, k, value]
                    elif share == 0.0:
                        image[y, x, k] = shades[1, k, value]
                    else:
                        bright, dark = float(shades[0, k, value]), float(shades[1, k, value])
                        image[y, x, k] = _grey(dark + share * (bright - dark))
                owner[y, x] = NOBODY
                depth[y, x] = zs[x]
            elif owner[y, x] == NOBODY:
                depth[y, x] = 0.0
                column = (x + table.shift[1]) % tiles_wide
                for k in range(3):
                    image[y, x, k] = behind[k, table.background[row, column, k]]


@kernel
def shade_objects(
    meshes: Meshes,
    buffers: Buffers,
    focal: float,
    eye: F64,
    ray: F64,
    bodies: Bodies,
    light: Lighting,
    image: U8,
    depth: F32,
    visible: I64,
) -> None:
    """Colour the pixels that show an instance; visible (n, 5): their number, left, top, right, bottom."""
    owner, points = buffers.owner, buffers.points
    height, width = owner.shape
    gain, offset, M = light.gain, light.offset, light.to_shadow
    for i in range(len(visible)):
        visible[i, 0], visible[i, 1], visible[i, 2], visible[i, 3], visible[i, 4] = 0, width, height, -1, -1
    S, base = np.empty((3, 3)), np.empty(3)  # shadow pixel and height = S (u, v, 1) z + base
    for k in range(3):
        S[k] = M[k, 0] * ray[0] + M[k, 1] * ray[1] + M[k, 2] * ray[2]
        base[k] = M[k, 0] * eye[0] + M[k, 1] * eye[1] + M[k, 2] * eye[2] + M[k, 3]
    for y in range(height):
        end = 0
        for x0 in range(width):
            if x0 < end or owner[y, x0] == NOBODY:
                continue
            i, f = owner[y, x0], np.uint32(buffers.face[y, x0])  # an index without a sign: nothing to wrap
            end = x0 + 1
            while end < width and owner[y, end] == i and np.uint32(buffers.face[y, end]) == f:
                end += 1
            # Pixels x0 to end - 1 of the row show face f of instance i.
            if i < len(visible):
                seen = visible[i]
                seen[0] += end - x0
                seen[1], seen[2] = min(seen[1], x0), min(seen[2], y)
                seen[3], seen[4] = max(seen[3], end - 1), max(seen[4], y)
            start = buffers.start[i]
            a, b, c = start + meshes.faces[f, 0], start + meshes.faces[f, 1], start + meshes.faces[f, 2]
            ax, ay, az, bx, by, bz, cx, cy, cz, det = edges(points, a, b, c)
            side = -1.0 if det > 0.0 else 1.0  # the back of an open surface
            n, color, texture = meshes.normals[f], meshes.colors[f], meshes.texture[f]
            light_dir, half, tint = bodies.to_light[i], bodies.to_half[i], bodies.tint[i]
            for x in range(x0, end):
                wa, wb, wc = ax * x + ay * y + az, bx * x + by * y + bz, cx * x + cy * y + cz
                z = 1.0 / (wa + wb + wc)
                wa, wb, wc = wa * z, wb * z, wc * z
                depth[y, x] = z
                nx = wa * n[0, 0] + wb * n[1, 0] + wc * n[2, 0]
                ny = wa * n[0, 1] + wb * n[1, 1] + wc * n[2, 1]
                nz = wa * n[0, 2] + wb * n[1, 2] + wc * n[2, 2]
                unit = side / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-30)
                lamp = (nx * light_dir[0] + ny * light_dir[1] + nz * light_dir[2]) * unit
                shine = 0.0
                if lamp > 0.0:
                    u = base[0] + z * (S[0, 0] * x + S[0, 1] * y + S[0, 2])
                    v = base[1] + z * (S[1, 0] * x + S[1, 1] * y + S[1, 2])
                    h = base[2] + z * (S[2, 0] * x + S[2, 1] * y + S[2, 2]) + light.bias
                    reached = 1.0 - light.strength * (1.0 - lit(light.shadow, u, v, h))
                    lamp *= reached
                    shine = max(0.0, (nx * half[0] + ny * half[1] + nz * half[2]) * unit)
                    shine *= shine
                    shine *= shine
                    shine *= shine
                    shine *= shine  # the 16th power
                    shine *= 255.0 * light.specular * reached
                else:
                    lamp = 0.0
                red = wa * color[0, 0] + wb * color[1, 0] + wc * color[2, 0]
                green = wa * color[0, 1] + wb * color[1, 1] + wc * color[2, 1]
                blue = wa * color[0, 2] + wb * color[1, 2] + wc * color[2, 2]
                r, g, q = 255.0, 255.0, 255.0
                if texture >= 0:
                    uv, mips = meshes.uv[f], meshes.mips[texture]
                    s = (wa * uv[0, 0] + wb * uv[1, 0] + wc * uv[2, 0]) * mips[0, 2]
                    t = (1.0 - (wa * uv[0, 1] + wb * uv[1, 1] + wc * uv[2, 1])) * mips[0, 1]
                    level = _level(meshes.texel_density[f] * z / (focal * bodies.scale[i]))
                    r, g, q = _texel(meshes.texels, mips, level, s, t)
                red = red * r * tint[0] * (light.ambient[0] + lamp * light.diffuse[0]) + shine
                green = green * g * tint[1] * (light.ambient[1] + lamp * light.diffuse[1]) + shine
                blue = blue * q * tint[2] * (light.ambient[2] + lamp * light.diffuse[2]) + shine
                image[y, x, 0] = _grey(red * gain + offset)
                image[y, x, 1] = _grey(green * gain + offset)
                image[y, x, 2] = _grey(blue * gain + offset)
