"""Shading: from what each pixel shows to its colour, its depth and the labels, in numba.

Lambert and Blinn-Phong terms of one distant lamp, ambient light, a shadow map with four-tap percentage-closer
filtering (Reeves, Salesin and Cook, 1987), textures from halved pictures. The table is never rasterised: a ray
meets the plane z = 0 in closed form.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from deeprob.sim.raster import NOBODY, _edges

LEVELS = 6  # halvings kept of each texture


class Surface(NamedTuple):
    """The table top: half extents (2,) in metres, 0 for none, and its texture.

    texels uint8 (T, 3), mips int64 (LEVELS, 3): first texel, height, width; texels a metre; turn: float64 (2, 3), from
    a point of the table to texture coordinates in metres; tint float64 (3,).
    """

    half: NDArray[np.float64]
    texels: NDArray[np.uint8]
    mips: NDArray[np.int64]
    density: float
    turn: NDArray[np.float64]
    tint: NDArray[np.float64]


class Lighting(NamedTuple):
    """One lamp and its shadows.

    ambient, diffuse float64 (3,); specular; up: the lamp's share on a horizontal surface (n . l of the table);
    strength: what a shadow takes; bias metres; shadow float32 (S, S): the height towards the lamp of what it meets;
    to_shadow float64 (3, 4): world point to shadow pixel and height. gain, offset: exposure and contrast.
    """

    ambient: NDArray[np.float64]
    diffuse: NDArray[np.float64]
    specular: float
    up: float
    strength: float
    bias: float
    shadow: NDArray[np.float32]
    to_shadow: NDArray[np.float64]
    gain: float
    offset: float


@njit(cache=True, error_model="numpy")
def shadow_map(vertices, faces, vertex_start, face_start, models, A, points, out):
    """The height towards the lamp of the nearest surface in each shadow pixel; A (n, 3, 4) maps object to shadow."""
    size = out.shape[0]
    out[:] = -1e30
    for i in range(len(models)):
        model, M = models[i], A[i]
        first = vertex_start[model]
        for k in range(vertex_start[model + 1] - first):
            x, y, z = vertices[first + k, 0], vertices[first + k, 1], vertices[first + k, 2]
            for row in range(3):
                points[k, row] = M[row, 0] * x + M[row, 1] * y + M[row, 2] * z + M[row, 3]
        for f in range(face_start[model], face_start[model + 1]):
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ua, va, ub, vb, uc, vc = (
                points[a, 0],
                points[a, 1],
                points[b, 0],
                points[b, 1],
                points[c, 0],
                points[c, 1],
            )
            area = (ub - ua) * (vc - va) - (uc - ua) * (vb - va)
            if area == 0.0:
                continue
            x0, x1 = int(max(0, np.ceil(min(ua, ub, uc)))), int(min(size - 1, np.floor(max(ua, ub, uc))))
            y0, y1 = int(max(0, np.ceil(min(va, vb, vc)))), int(min(size - 1, np.floor(max(va, vb, vc))))
            ha, hb, hc = points[a, 2], points[b, 2], points[c, 2]
            for y in range(y0, y1 + 1):
                for x in range(x0, x1 + 1):
                    wb = ((x - ua) * (vc - va) - (uc - ua) * (y - va)) / area
                    wc = ((ub - ua) * (y - va) - (x - ua) * (vb - va)) / area
                    if wb < 0.0 or wc < 0.0 or wb + wc > 1.0:
                        continue
                    height = ha + wb * (hb - ha) + wc * (hc - ha)
                    out[y, x] = max(out[y, x], height)


@njit(cache=True, error_model="numpy", inline="always")
def _lit(light, x, y, z):
    """Share of the lamp that reaches a world point, 0..1."""
    M, shadow = light.to_shadow, light.shadow
    u = M[0, 0] * x + M[0, 1] * y + M[0, 2] * z + M[0, 3]
    v = M[1, 0] * x + M[1, 1] * y + M[1, 2] * z + M[1, 3]
    size = shadow.shape[0]
    if not (u >= 0.0 and v >= 0.0 and u < size - 1 and v < size - 1):
        return 1.0
    height = M[2, 0] * x + M[2, 1] * y + M[2, 2] * z + M[2, 3] + light.bias
    j, i = int(u), int(v)
    s, t = u - j, v - i
    lit = 0.0
    if shadow[i, j] <= height:
        lit += (1.0 - s) * (1.0 - t)
    if shadow[i, j + 1] <= height:
        lit += s * (1.0 - t)
    if shadow[i + 1, j] <= height:
        lit += (1.0 - s) * t
    if shadow[i + 1, j + 1] <= height:
        lit += s * t
    return lit


@njit(cache=True, error_model="numpy", inline="always")
def _texel(texels, mips, level, s, t):
    """Bilinear colour, 0..255, at (s, t) in texels of level 0, repeating, t downwards."""
    first, height, width = mips[level, 0], mips[level, 1], mips[level, 2]
    shrink = 1.0 / (1 << level)
    s, t = s * shrink - 0.5, t * shrink - 0.5
    j, i = np.floor(s), np.floor(t)
    s, t = s - j, t - i
    j0, i0 = int(j) % width, int(i) % height
    j1, i1 = j0 + 1 if j0 + 1 < width else 0, i0 + 1 if i0 + 1 < height else 0
    a, b = first + i0 * width, first + i1 * width
    p, q, r, w = (1 - s) * (1 - t), s * (1 - t), (1 - s) * t, s * t
    red = p * texels[a + j0, 0] + q * texels[a + j1, 0] + r * texels[b + j0, 0] + w * texels[b + j1, 0]
    green = p * texels[a + j0, 1] + q * texels[a + j1, 1] + r * texels[b + j0, 1] + w * texels[b + j1, 1]
    blue = p * texels[a + j0, 2] + q * texels[a + j1, 2] + r * texels[b + j0, 2] + w * texels[b + j1, 2]
    return red, green, blue


@njit(cache=True, error_model="numpy", inline="always")
def _level(texels_per_pixel):
    """The halving whose texels are about as large as a pixel."""
    level = 0
    while texels_per_pixel > 1.5 and level < LEVELS - 1:
        texels_per_pixel *= 0.5
        level += 1
    return level


@njit(cache=True, error_model="numpy", inline="always")
def _grey(value):
    """A colour value as uint8, clipped."""
    return np.uint8(min(max(value + 0.5, 0.0), 255.0))


@njit(cache=True, error_model="numpy")
def shade(
    meshes,
    buffers,
    focal,
    eye,
    ray,
    scale,
    to_light,
    to_half,
    tint,
    light,
    table,
    background,
    image,
    depth,
    visible,
):
    """Write image uint8 (H, W, 3), depth float32 (H, W) and visible int64 (n, 5): pixels, left, top, right, bottom.

    eye (3,), ray (3, 3): a world ray is ray @ (u, v, 1), of unit length along the optical axis; scale (n,); to_light
    and to_half (n, 3): unit directions in each object's frame; tint (n, 3). Pixels that show no instance become NOBODY's.
    """
    owner, points = buffers.owner, buffers.points
    height, width = owner.shape
    for i in range(len(visible)):
        visible[i, 0], visible[i, 1], visible[i, 2], visible[i, 3], visible[i, 4] = 0, width, height, -1, -1
    gain, offset = light.gain, light.offset
    for y in range(height):
        for x in range(width):
            dx = ray[0, 0] * x + ray[0, 1] * y + ray[0, 2]
            dy = ray[1, 0] * x + ray[1, 1] * y + ray[1, 2]
            dz = ray[2, 0] * x + ray[2, 1] * y + ray[2, 2]
            i = owner[y, x]
            inverse = buffers.inverse_depth[y, x]
            table_z = -eye[2] / dz
            tx, ty = eye[0] + table_z * dx, eye[1] + table_z * dy
            on_table = table_z > 0.0 and abs(tx) <= table.half[0] and abs(ty) <= table.half[1]
            if on_table and (i == NOBODY or table_z * inverse < 1.0):
                owner[y, x] = NOBODY
                depth[y, x] = table_z
                lit = light.up * (1.0 - light.strength * (1.0 - _lit(light, tx, ty, 0.0)))
                s = (table.turn[0, 0] * tx + table.turn[0, 1] * ty + table.turn[0, 2]) * table.density
                t = (table.turn[1, 0] * tx + table.turn[1, 1] * ty + table.turn[1, 2]) * table.density
                level = _level(table.density * table_z / focal)
                red, green, blue = _texel(table.texels, table.mips, level, s, t)
                image[y, x, 0] = _grey(
                    red * table.tint[0] * (light.ambient[0] + lit * light.diffuse[0]) * gain + offset
                )
                image[y, x, 1] = _grey(
                    green * table.tint[1] * (light.ambient[1] + lit * light.diffuse[1]) * gain + offset
                )
                image[y, x, 2] = _grey(
                    blue * table.tint[2] * (light.ambient[2] + lit * light.diffuse[2]) * gain + offset
                )
                continue
            if i == NOBODY:
                depth[y, x] = 0.0
                for k in range(3):
                    image[y, x, k] = _grey(background[y, x, k] * gain + offset)
                continue
            z = 1.0 / inverse
            depth[y, x] = z
            if i < len(visible):
                seen = visible[i]
                seen[0] += 1
                seen[1], seen[2] = min(seen[1], x), min(seen[2], y)
                seen[3], seen[4] = max(seen[3], x), max(seen[4], y)
            f = buffers.face[y, x]
            start = buffers.start[i]
            a, b, c = start + meshes.faces[f, 0], start + meshes.faces[f, 1], start + meshes.faces[f, 2]
            ax, ay, az, bx, by, bz, cx, cy, cz, det = _edges(points, a, b, c)
            wa, wb, wc = ax * x + ay * y + az, bx * x + by * y + bz, cx * x + cy * y + cz
            share = 1.0 / (wa + wb + wc)
            wa, wb, wc = wa * share, wb * share, wc * share
            n = meshes.normals[f]
            nx = wa * n[0, 0] + wb * n[1, 0] + wc * n[2, 0]
            ny = wa * n[0, 1] + wb * n[1, 1] + wc * n[2, 1]
            nz = wa * n[0, 2] + wb * n[1, 2] + wc * n[2, 2]
            unit = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-30)
            if det > 0.0:
                unit = -unit  # the back of an open surface
            lamp = max(0.0, (nx * to_light[i, 0] + ny * to_light[i, 1] + nz * to_light[i, 2]) * unit)
            shine = 0.0
            if lamp > 0.0:
                open_share = 1.0 - light.strength * (
                    1.0 - _lit(light, eye[0] + z * dx, eye[1] + z * dy, eye[2] + z * dz)
                )
                lamp *= open_share
                shine = max(0.0, (nx * to_half[i, 0] + ny * to_half[i, 1] + nz * to_half[i, 2]) * unit)
                shine *= shine
                shine *= shine
                shine *= shine
                shine *= shine  # the 16th power
                shine *= 255.0 * light.specular * open_share
            color = meshes.colors[f]
            red = wa * color[0, 0] + wb * color[1, 0] + wc * color[2, 0]
            green = wa * color[0, 1] + wb * color[1, 1] + wc * color[2, 1]
            blue = wa * color[0, 2] + wb * color[1, 2] + wc * color[2, 2]
            texture = meshes.texture[f]
            if texture >= 0:
                uv, mips = meshes.uv[f], meshes.mips[texture]
                s = (wa * uv[0, 0] + wb * uv[1, 0] + wc * uv[2, 0]) * mips[0, 2]
                t = (1.0 - (wa * uv[0, 1] + wb * uv[1, 1] + wc * uv[2, 1])) * mips[0, 1]
                level = _level(meshes.texel_density[f] * z / (focal * scale[i]))
                r, g, q = _texel(meshes.texels, mips, level, s, t)
                red, green, blue = red * r, green * g, blue * q
            else:
                red, green, blue = red * 255.0, green * 255.0, blue * 255.0
            red = red * tint[i, 0] * (light.ambient[0] + lamp * light.diffuse[0]) + shine
            green = green * tint[i, 1] * (light.ambient[1] + lamp * light.diffuse[1]) + shine
            blue = blue * tint[i, 2] * (light.ambient[2] + lamp * light.diffuse[2]) + shine
            image[y, x, 0] = _grey(red * gain + offset)
            image[y, x, 1] = _grey(green * gain + offset)
            image[y, x, 2] = _grey(blue * gain + offset)


@njit(cache=True, error_model="numpy")
def add_noise(image, sigma, tile, seed):
    """Add `sigma` times the standard normal numbers of `tile` (a power of two long) to a uint8 picture, in place.

    Each row starts at its own place in the tile, by a linear congruential step (Knuth's multiplier) from `seed`.
    """
    height, width, _ = image.shape
    mask = len(tile) - 1
    state = np.uint64(seed)
    for y in range(height):
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        at = np.int64(state >> np.uint64(40))
        for x in range(width):
            for k in range(3):
                image[y, x, k] = _grey(image[y, x, k] + sigma * tile[at & mask])
                at += 1
