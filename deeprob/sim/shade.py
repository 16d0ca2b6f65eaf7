"""Shading: from what each pixel shows to its colour, its depth and the labels, in numba.

Lambert and Blinn-Phong terms of one distant lamp, ambient light, a shadow map, textures from successive
halvings. The half vector is constant over an object: lamp and eye are far from it. What depends on the face
is gathered pixel by pixel into rows; the arithmetic that all pixels share then runs along them, vectorised.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprob.sim.kernel import F32, F64, I32, I64, U8, U32, inlined, kernel
from deeprob.sim.raster import NOBODY, Buffers, Meshes, edges
from deeprob.sim.shadow import lit
from deeprob.sim.textures import LEVELS


class Lighting(NamedTuple):
    """One lamp and its shadows.

    ambient, diffuse (3,); specular; up: the share of the lamp that meets a horizontal surface; strength: what
    a shadow takes; bias metres; shadow float32 (S, S) and roof (S - 1, S - 1): as shadow_map writes them,
    to_shadow (3, 4): world point to shadow pixel and height; gain, offset: exposure and contrast.
    """

    ambient: F64
    diffuse: F64
    specular: float
    up: float
    strength: float
    bias: float
    shadow: F32
    roof: F32
    to_shadow: F64
    gain: float
    offset: float


class Bodies(NamedTuple):
    """The instances: scale (n,); to_light, to_half (n, 3), unit, in each object's frame; tint (n, 3).

    skin, skin_place: as in Look. skin_texels uint32 (T,), skin_mips int64 (textures, LEVELS, 3): as in
    Meshes.
    """

    scale: F64
    to_light: F64
    to_half: F64
    tint: F64
    skin: I64
    skin_place: F64
    skin_texels: U32
    skin_mips: I64


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
def halving(texels_per_pixel: float) -> int:
    """The halving whose texels are about as large as a pixel."""
    level = 0
    while texels_per_pixel > 1.5 and level < LEVELS - 1:
        texels_per_pixel *= 0.5
        level += 1
    return level


@inlined
def grey(value: float) -> np.uint8:
    """A colour value as uint8, clipped and rounded."""
    return np.uint8(min(max(value, 0.0), 255.0) + 0.5)


@inlined
def _nine(values: F32) -> tuple[tuple[float, float, float], ...]:
    """The numbers of a (3, 3) array, read once."""
    return (
        (np.float64(values[0, 0]), np.float64(values[0, 1]), np.float64(values[0, 2])),
        (np.float64(values[1, 0]), np.float64(values[1, 1]), np.float64(values[1, 2])),
        (np.float64(values[2, 0]), np.float64(values[2, 1]), np.float64(values[2, 2])),
    )


@inlined
def _gather(
    meshes: Meshes,
    model: int,
    bodies: Bodies,
    instance: int,
    points: F64,
    start: int,
    focal: float,
    faces: I32,
    x0: int,
    y: int,
    rows: F64,
) -> None:
    """Depth, normal and unlit colour of pixels x0, x0 + 1, ... of row y, to rows 0, 1-3 and 4-6.

    faces: what they show, of one instance of `model`, whose first point is `start`; focal: pixels.
    """
    skin, scale = bodies.skin[instance], bodies.scale[instance]
    first_vertex = meshes.vertex_start[model]
    zs, reds, greens, blues = rows[0], rows[4], rows[5], rows[6]
    nxs, nys, nzs = rows[1], rows[2], rows[3]
    count = len(faces)
    first = 0
    while first < count:
        f = np.uint32(faces[np.uint32(first)])  # an index without a sign: nothing to wrap
        last = first + 1
        while last < count and np.uint32(faces[np.uint32(last)]) == f:
            last += 1
        a, b, c = start + meshes.faces[f, 0], start + meshes.faces[f, 1], start + meshes.faces[f, 2]
        ax, ay, az, bx, by, bz, cx, cy, cz, det = edges(points, a, b, c)
        side = -1.0 if det > 0.0 else 1.0  # the back of an open surface
        ((nax, nay, naz), (nbx, nby, nbz), (ncx, ncy, ncz)) = _nine(meshes.normals[f])
        ((ra, ga, ba), (rb, gb, bb), (rc, gc, bc)) = _nine(meshes.colors[f])
        texture = meshes.texture[f]
        # Over the depth, everything is affine along the row; of a normal the length does not matter.
        ea, eb, ec = ay * y + az, by * y + bz, cy * y + cz
        inverse, slope = ea + eb + ec, ax + bx + cx
        nx0, nx1 = side * (ea * nax + eb * nbx + ec * ncx), side * (ax * nax + bx * nbx + cx * ncx)
        ny0, ny1 = side * (ea * nay + eb * nby + ec * ncy), side * (ax * nay + bx * nby + cx * ncy)
        nz0, nz1 = side * (ea * naz + eb * nbz + ec * ncz), side * (ax * naz + bx * nbz + cx * ncz)
        for m in range(first, last):
            n, x = np.uint32(m), x0 + m
            zs[n] = 1.0 / (inverse + slope * x)
            nxs[n], nys[n], nzs[n] = nx0 + nx1 * x, ny0 + ny1 * x, nz0 + nz1 * x
        one_color = ra == rb and ga == gb and ba == bb and ra == rc and ga == gc and ba == bc
        if skin >= 0:
            _wrap(
                meshes,
                bodies,
                instance,
                f,
                first_vertex,
                focal,
                (ea, eb, ec),
                (ax, bx, cx),
                first,
                last,
                x0,
                rows,
            )
            first = last
            continue
        if texture < 0 and one_color:
            for m in range(first, last):
                n = np.uint32(m)
                reds[n], greens[n], blues[n] = 255.0 * ra, 255.0 * ga, 255.0 * ba
            first = last
            continue
        for m in range(first, last):
            n, x = np.uint32(m), x0 + m
            z = zs[n]
            wa, wb, wc = (ea + ax * x) * z, (eb + bx * x) * z, (ec + cx * x) * z
            red, green, blue = 255.0, 255.0, 255.0
            if texture >= 0:
                uv, mips = meshes.uv[f], meshes.mips[texture]
                s = (wa * uv[0, 0] + wb * uv[1, 0] + wc * uv[2, 0]) * mips[0, 2]
                t = (1.0 - (wa * uv[0, 1] + wb * uv[1, 1] + wc * uv[2, 1])) * mips[0, 1]
                level = halving(meshes.texel_density[f] * z / (focal * scale))
                red, green, blue = _texel(meshes.texels, mips, level, s, t)
            reds[n] = (wa * ra + wb * rb + wc * rc) * red
            greens[n] = (wa * ga + wb * gb + wc * gc) * green
            blues[n] = (wa * ba + wb * bb + wc * bc) * blue
        first = last


@inlined
def _wrap(
    meshes: Meshes,
    bodies: Bodies,
    instance: int,
    f: np.uint32,
    first_vertex: int,
    focal: float,
    at_zero: tuple[float, float, float],
    slopes: tuple[float, float, float],
    first: int,
    last: int,
    x0: int,
    rows: F64,
) -> None:
    """Unlit colour of pixels x0 + first to x0 + last - 1 of face f, whose object is wrapped in a texture.

    The texture is laid on along the axis of the object that the face looks along most (cube mapping), so that
    a mesh needs no texture coordinates. at_zero, slopes: of the edge functions along the row.
    """
    zs, reds, greens, blues = rows[0], rows[4], rows[5], rows[6]
    i, j, k = meshes.faces[f, 0], meshes.faces[f, 1], meshes.faces[f, 2]
    xs, ys, zs_of = meshes.vertices[0], meshes.vertices[1], meshes.vertices[2]
    i, j, k = first_vertex + i, first_vertex + j, first_vertex + k
    ux, uy, uz = xs[j] - xs[i], ys[j] - ys[i], zs_of[j] - zs_of[i]
    vx, vy, vz = xs[k] - xs[i], ys[k] - ys[i], zs_of[k] - zs_of[i]
    nx, ny, nz = abs(uy * vz - uz * vy), abs(uz * vx - ux * vz), abs(ux * vy - uy * vx)
    across = 1 if nx >= ny and nx >= nz else 0
    down = 1 if nz > nx and nz > ny else 2
    mips, place = bodies.skin_mips[bodies.skin[instance]], bodies.skin_place[instance]
    size = float(mips[0, 1])
    density = size / place[0] * bodies.scale[instance]  # texels a metre of the unscaled mesh
    level = halving(size / place[0] * zs[first] / focal)
    sa, sb, sc = meshes.vertices[across, i], meshes.vertices[across, j], meshes.vertices[across, k]
    ta, tb, tc = meshes.vertices[down, i], meshes.vertices[down, j], meshes.vertices[down, k]
    for m in range(first, last):
        n, x = np.uint32(m), x0 + m
        z = zs[n] * density
        wa, wb, wc = at_zero[0] + slopes[0] * x, at_zero[1] + slopes[1] * x, at_zero[2] + slopes[2] * x
        s = (wa * sa + wb * sb + wc * sc) * z + place[1] * size
        t = (wa * ta + wb * tb + wc * tc) * z + place[2] * size
        reds[n], greens[n], blues[n] = _texel(bodies.skin_texels, mips, level, s, t)


@inlined
def _illuminate(
    bodies: Bodies,
    i: int,
    light: Lighting,
    S: F64,
    x0: int,
    y: int,
    rows: F64,
    cells: U32,
    pixels: U8,
    depth: F32,
) -> None:
    """Light what _gather left of pixels x0, x0 + 1, ... of row y, which show instance i.

    S (3, 4): from (u, v, 1) z, 1 to shadow pixel and height. Short loops over few arrays, without branches,
    are what the compiler vectorises; only the one that looks at the shadows branches.
    """
    count = len(pixels)
    zs, nxs, nys, nzs = rows[0], rows[1], rows[2], rows[3]
    reds, greens, blues, heights = rows[4], rows[5], rows[6], rows[7]
    lx, ly, lz = bodies.to_light[i, 0], bodies.to_light[i, 1], bodies.to_light[i, 2]
    hx, hy, hz = bodies.to_half[i, 0], bodies.to_half[i, 1], bodies.to_half[i, 2]
    lamps, shines, reach = nxs, nys, heights  # each takes the place of what is read last to make it
    for n in range(count):
        nx, ny, nz = nxs[n], nys[n], nzs[n]
        unit = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-30)
        lamp, shine = (nx * lx + ny * ly + nz * lz) * unit, (nx * hx + ny * hy + nz * hz) * unit
        lamps[n] = lamp if lamp > 0.0 else 0.0
        shines[n] = shine if (lamp > 0.0) & (shine > 0.0) else 0.0
    for n in range(count):
        depth[n] = zs[n]
    roofs, across, size = light.roof.reshape(-1), np.int32(light.roof.shape[1]), light.shadow.shape[0] - 1.0
    Sux, Suy, Suz, Su = S[0, 0], S[0, 1] * y, S[0, 2], S[0, 3]
    Svx, Svy, Svz, Sv = S[1, 0], S[1, 1] * y, S[1, 2], S[1, 3]
    Shx, Shy, Shz, Sh = S[2, 0], S[2, 1] * y, S[2, 2], S[2, 3]
    bias, strength = light.bias, light.strength
    for n in range(count):
        x, z = x0 + n, zs[n]
        u, v, h = (
            Su + z * (Sux * x + Suy + Suz),
            Sv + z * (Svx * x + Svy + Svz),
            Sh + z * (Shx * x + Shy + Shz) + bias,
        )
        inside = (lamps[n] > 0.0) & (u >= 0.0) & (v >= 0.0) & (u < size) & (v < size)
        u, v = (u, v) if inside else (0.0, 0.0)
        heights[n] = h if inside else np.inf
        cells[n] = np.int32(v) * across + np.int32(u)
    for n in range(count):
        share = 1.0
        if not roofs[cells[n]] <= heights[n]:
            x, z = x0 + n, zs[n]
            u, v = Su + z * (Sux * x + Suy + Suz), Sv + z * (Svx * x + Svy + Svz)
            share = lit(light.shadow, u, v, heights[n])
        reach[n] = 1.0 - strength * (1.0 - share)
    ambient_red, ambient_green, ambient_blue = light.ambient
    diffuse_red, diffuse_green, diffuse_blue = light.diffuse
    tint_red, tint_green, tint_blue = bodies.tint[i, 0], bodies.tint[i, 1], bodies.tint[i, 2]
    gain, offset, specular = light.gain, light.offset, 255.0 * light.specular
    for n in range(count):
        lamp, shine = lamps[n] * reach[n], shines[n]
        shine *= shine
        shine *= shine
        shine *= shine
        shine *= shine  # the 16th power
        shine *= specular * reach[n]
        red = reds[n] * tint_red * (ambient_red + lamp * diffuse_red) + shine
        green = greens[n] * tint_green * (ambient_green + lamp * diffuse_green) + shine
        blue = blues[n] * tint_blue * (ambient_blue + lamp * diffuse_blue) + shine
        pixels[n, 0] = grey(red * gain + offset)
        pixels[n, 1] = grey(green * gain + offset)
        pixels[n, 2] = grey(blue * gain + offset)


@kernel
def shade_objects(
    meshes: Meshes,
    models: I64,
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
    owner, M = buffers.owner, light.to_shadow
    height, width = owner.shape
    for i in range(len(visible)):
        visible[i, 0], visible[i, 1], visible[i, 2], visible[i, 3], visible[i, 4] = 0, width, height, -1, -1
    S = np.empty((3, 4))  # shadow pixel and height = S[:, :3] (u, v, 1) z + S[:, 3]
    for k in range(3):
        S[k, :3] = M[k, 0] * ray[0] + M[k, 1] * ray[1] + M[k, 2] * ray[2]
        S[k, 3] = M[k, 0] * eye[0] + M[k, 1] * eye[1] + M[k, 2] * eye[2] + M[k, 3]
    rows, cells = np.empty((8, width)), np.empty(width, np.uint32)
    for y in range(height):
        owners, faces = owner[y], buffers.face[y]
        end = 0
        for x0 in range(width):
            if x0 < end or owners[x0] == NOBODY:
                continue
            i = owners[x0]
            end = x0 + 1
            while end < width and owners[np.uint32(end)] == i:
                end += 1
            # Pixels x0 to end - 1 of the row show instance i.
            if i < len(visible):
                seen = visible[i]
                seen[0] += end - x0
                seen[1], seen[2] = min(seen[1], x0), min(seen[2], y)
                seen[3], seen[4] = max(seen[3], end - 1), max(seen[4], y)
            run, cell = rows[:, : end - x0], cells[: end - x0]
            _gather(
                meshes,
                models[i],
                bodies,
                i,
                buffers.points,
                buffers.start[i],
                focal,
                faces[x0:end],
                x0,
                y,
                run,
            )
            _illuminate(bodies, i, light, S, x0, y, run, cell, image[y, x0:end], depth[y, x0:end])
