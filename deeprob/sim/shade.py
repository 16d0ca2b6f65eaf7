"""Shading: from what each pixel shows to its colour, its depth and the labels, in numba.

Lambert and Blinn-Phong terms of one distant lamp, ambient light, a shadow map, textures from successive
halvings. The half vector is constant over an object: lamp and eye are far from it. What depends on the face
is gathered pixel by pixel into rows; the arithmetic that all pixels share then runs along them, vectorised.
"""

from __future__ import annotations

import numpy as np

from deeprob.geometry.kernel import F32, F64, I32, I64, U8, U32, inlined, kernel
from deeprob.geometry.raster import NOBODY, Buffers, Meshes
from deeprob.sim.light import Lighting, pack, reach
from deeprob.sim.planes import COLOR, INVERSE, NORMAL, PLACE, Bodies, Planes, along, fill_planes
from deeprob.sim.textures import halving


@inlined
def _texel(texels: U32, mips: I64, number: int, level: int, s: float, t: float) -> tuple[float, float, float]:
    """Bilinear colour, 0..255, of a texture at (s, t) in texels of level 0, repeating, t downwards."""
    first, height, width = mips[number, level, 0], mips[number, level, 1], mips[number, level, 2]
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
def _run(owners: U8, faces: I32, first: int, end: int) -> int:
    """Where the run of pixels ends that begins at `first` and shows one face of one instance."""
    i, f, last = owners[np.uintp(first)], faces[np.uintp(first)], first + 1
    while last < end and faces[np.uintp(last)] == f and owners[np.uintp(last)] == i:
        last += 1
    return last


@kernel
def _gather(
    planes: Planes,
    slots: I64,
    owners: U8,
    faces: I32,
    first: int,
    end: int,
    y: int,
    z: F32,
    nx: F32,
    ny: F32,
    nz: F32,
    red: F32,
    green: F32,
    blue: F32,
) -> bool:
    """Depth, normal and unlit colour of pixels first..end - 1 of row y, and whether any has a texture."""
    plane, textured, one, any_texture = planes.plane, planes.textured, np.float32(1), False
    while first < end:
        i = owners[np.uintp(first)]
        if i == NOBODY:
            first += 1
            continue
        last = _run(owners, faces, first, end)
        s, x = np.uintp(slots[i] + faces[np.uintp(first)]), float(first)
        any_texture |= textured[s]
        w, dw = along(plane, s, INVERSE, x, y)
        a, da = along(plane, s, NORMAL, x, y)
        b, db = along(plane, s, NORMAL + 1, x, y)
        c, dc = along(plane, s, NORMAL + 2, x, y)
        p, dp = along(plane, s, COLOR, x, y)
        q, dq = along(plane, s, COLOR + 1, x, y)
        r, dr = along(plane, s, COLOR + 2, x, y)
        for m in range(first, last):
            n, k = np.uintp(m), np.float32(np.int32(m - first))
            depth = one / (w + dw * k)
            z[n] = depth
            nx[n], ny[n], nz[n] = a + da * k, b + db * k, c + dc * k
            red[n], green[n], blue[n] = (p + dp * k) * depth, (q + dq * k) * depth, (r + dr * k) * depth
        first = last
    return any_texture


@kernel
def _lay_textures(
    meshes: Meshes,
    bodies: Bodies,
    planes: Planes,
    slots: I64,
    owners: U8,
    faces: I32,
    first: int,
    end: int,
    y: int,
    z: F32,
    red: F32,
    green: F32,
    blue: F32,
) -> None:
    """Multiply the colours that _gather left by the textures of their faces."""
    plane, textured, density, share = planes.plane, planes.textured, planes.density, np.float32(1 / 255)
    while first < end:
        i, f = owners[np.uintp(first)], faces[np.uintp(first)]
        last = _run(owners, faces, first, end)
        if i != NOBODY and textured[slots[i] + f]:
            slot, skin = np.uintp(slots[i] + f), bodies.skin[i]
            s, ds = along(plane, slot, PLACE, float(first), y)
            t, dt = along(plane, slot, PLACE + 1, float(first), y)
            level = halving(density[slot] * z[np.uintp((first + last) // 2)])
            for m in range(first, last):
                n, k = np.uintp(m), np.float32(np.int32(m - first))
                u, v = (s + ds * k) * z[n], (t + dt * k) * z[n]
                if skin >= 0:
                    color = _texel(bodies.skin_texels, bodies.skin_mips, skin, level, u, v)
                else:
                    color = _texel(meshes.texels, meshes.mips, meshes.texture[f], level, u, v)
                red[n] *= color[0] * share
                green[n] *= color[1] * share
                blue[n] *= color[2] * share
        first = last


@inlined
def _three(values: F64, i: int) -> tuple[np.float32, np.float32, np.float32]:
    """The three numbers of row i."""
    return np.float32(values[i, 0]), np.float32(values[i, 1]), np.float32(values[i, 2])


@kernel
def _illuminate(
    bodies: Bodies,
    light: Lighting,
    owners: U8,
    first: int,
    end: int,
    y: int,
    x: F32,
    z: F32,
    nx: F32,
    ny: F32,
    nz: F32,
    red: F32,
    green: F32,
    blue: F32,
    share: F32,
    cells: I32,
    pixels: U32,
    visible: I64,
) -> None:
    """Light what _gather left of pixels first..end - 1 of row y, and count what is visible.

    Short loops over few arrays, without branches, are what the compiler vectorises.
    """
    to_light, to_half, dark, bright = bodies.to_light, bodies.to_half, bodies.dark, bodies.bright
    specular, offset = np.float32(light.specular), np.float32(light.offset)
    zero, one, tiny = np.float32(0), np.float32(1), np.float32(1e-30)
    lamps, shines = nx, ny  # each takes the place of what is read last to make it
    begin = first
    while begin < end:
        i = owners[np.uintp(begin)]
        stop = begin + 1
        while stop < end and owners[np.uintp(stop)] == i:
            stop += 1
        if i == NOBODY:
            begin = stop
            continue
        if i < len(visible):
            visible[i, 0] += stop - begin
            visible[i, 1], visible[i, 2] = min(visible[i, 1], begin), min(visible[i, 2], y)
            visible[i, 3], visible[i, 4] = max(visible[i, 3], stop - 1), max(visible[i, 4], y)
        lx, ly, lz = _three(to_light, i)
        hx, hy, hz = _three(to_half, i)
        for m in range(begin, stop):
            n = np.uintp(m)
            a, b, c = nx[n], ny[n], nz[n]
            unit = one / np.sqrt(a * a + b * b + c * c + tiny)
            lamp, shine = (a * lx + b * ly + c * lz) * unit, (a * hx + b * hy + c * hz) * unit
            lamps[n] = lamp if lamp > zero else zero
            shines[n] = shine if (lamp > zero) & (shine > zero) else zero
        reach(light, begin, stop, y, x, z, lamps, cells, share)
        ar, ag, ab = _three(dark, i)
        dr, dg, db = _three(bright, i)
        for m in range(begin, stop):
            n = np.uintp(m)
            lamp, shine = lamps[n] * share[n], shines[n]
            shine *= shine
            shine *= shine
            shine *= shine
            shine *= shine  # the 16th power
            shine = shine * (specular * share[n]) + offset
            pixels[n] = pack(
                red[n] * (ar + lamp * dr) + shine,
                green[n] * (ag + lamp * dg) + shine,
                blue[n] * (ab + lamp * db) + shine,
            )
        begin = stop


@kernel
def shade_objects(
    meshes: Meshes,
    models: I64,
    buffers: Buffers,
    planes: Planes,
    focal: float,
    bodies: Bodies,
    light: Lighting,
    picture: U32,
    depth: F32,
    visible: I64,
) -> None:
    """Colour the pixels that show an instance; visible (n, 5): their number, left, top, right, bottom.

    Loops are called once a row: that they hold what they are given is counted, which costs as much as pixels.
    """
    height, width = depth.shape
    slots = np.empty(len(models), np.int64)  # where face 0 of each instance's library would lie in planes
    for i in range(len(models)):
        slots[i] = buffers.slot[i] - meshes.face_start[models[i]]
        fill_planes(meshes, models[i], bodies, i, buffers, focal, planes)
    for i in range(len(visible)):
        visible[i, 0], visible[i, 1], visible[i, 2], visible[i, 3], visible[i, 4] = 0, width, height, -1, -1
    x, rows, cells = (
        np.arange(width).astype(np.float32),
        np.empty((7, width), np.float32),
        np.empty(width, np.int32),
    )
    nx, ny, nz, red, green, blue, share = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6]
    first, end = buffers.drawn_box[0], buffers.drawn_box[2] + 1
    for y in range(buffers.drawn_box[1], buffers.drawn_box[3] + 1):
        owners, faces, z = buffers.owner[y], buffers.face[y], depth[y]
        if _gather(planes, slots, owners, faces, first, end, y, z, nx, ny, nz, red, green, blue):
            _lay_textures(meshes, bodies, planes, slots, owners, faces, first, end, y, z, red, green, blue)
        _illuminate(
            bodies,
            light,
            owners,
            first,
            end,
            y,
            x,
            z,
            nx,
            ny,
            nz,
            red,
            green,
            blue,
            share,
            cells,
            picture[y],
            visible,
        )
