"""What each face shows, as planes over the picture, in numba.

Over the depth everything on a face is affine in the pixel (u, v): its inverse depth, the normal that is
interpolated between its corners, its colour, its place in a texture. Made once a face and picture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprob.geometry.kernel import F64, I64, U32, Flags, inlined, kernel
from deeprob.geometry.raster import Buffers, Meshes, edges

INVERSE, NORMAL, COLOR, PLACE, PLANES = 0, 1, 4, 7, 9  # inverse depth, normal, colour, place in the texture


class Bodies(NamedTuple):
    """The instances: scale (n,); to_light, to_half (n, 3), unit, in each object's frame.

    dark, bright (n, 3): what of its own colour each shows in ambient light, and what the lamp adds. skin,
    skin_place: as in Look. skin_texels uint32 (T,), skin_mips int64 (textures, LEVELS, 3): as in Meshes.
    """

    scale: F64
    to_light: F64
    to_half: F64
    dark: F64
    bright: F64
    skin: I64
    skin_place: F64
    skin_texels: U32
    skin_mips: I64


class Planes(NamedTuple):
    """Room for the faces of all instances, one after the other, as in Buffers.drawn.

    plane float64 (F, PLANES, 3): value over depth is plane @ (u, v, 1), PLACE in texels of the texture at
    full resolution. textured bool (F,); density float64 (F,): texels a pixel, over the depth.
    """

    plane: F64
    textured: Flags
    density: F64


def make_planes(faces: int) -> Planes:
    """Room for so many faces."""
    return Planes(np.empty((faces, PLANES, 3)), np.empty(faces, np.bool_), np.empty(faces))


@kernel
def fill_planes(
    meshes: Meshes, model: int, bodies: Bodies, instance: int, buffers: Buffers, focal: float, planes: Planes
) -> None:
    """Make the planes of an instance's faces that are drawn."""
    corners = np.zeros((PLANES, 3))
    start, first_vertex, skin = buffers.start[instance], meshes.vertex_start[model], bodies.skin[instance]
    first_face, slot, scale = meshes.face_start[model], buffers.slot[instance], bodies.scale[instance]
    for f in range(first_face, meshes.face_start[model + 1]):
        n = slot + f - first_face
        if not buffers.drawn[n]:
            continue
        i, j, k = meshes.faces[f, 0], meshes.faces[f, 1], meshes.faces[f, 2]
        ax, ay, az, bx, by, bz, cx, cy, cz, det = edges(buffers.points, start + i, start + j, start + k)
        side = -1.0 if det > 0.0 else 1.0  # the back of an open surface
        for corner in range(3):
            corners[INVERSE, corner] = 1.0
            for channel in range(3):
                corners[NORMAL + channel, corner] = side * meshes.normals[f, corner, channel]
                corners[COLOR + channel, corner] = 255.0 * meshes.colors[f, corner, channel]
        texture, used = meshes.texture[f], PLACE
        if skin >= 0:
            used = PLANES
            i, j, k = first_vertex + i, first_vertex + j, first_vertex + k
            planes.density[n] = _wrap(meshes, bodies, instance, i, j, k, corners) / (focal * scale)
        elif texture >= 0:
            used = PLANES
            planes.density[n] = meshes.texel_density[f] / (focal * scale)
            for corner in range(3):
                corners[PLACE, corner] = meshes.uv[f, corner, 0] * meshes.mips[texture, 0, 2]
                corners[PLACE + 1, corner] = (1.0 - meshes.uv[f, corner, 1]) * meshes.mips[texture, 0, 1]
        planes.textured[n] = used > PLACE
        for p in range(used):
            a, b, c = corners[p, 0], corners[p, 1], corners[p, 2]
            planes.plane[n, p, 0] = ax * a + bx * b + cx * c
            planes.plane[n, p, 1] = ay * a + by * b + cy * c
            planes.plane[n, p, 2] = az * a + bz * b + cz * c


@inlined
def _wrap(meshes: Meshes, bodies: Bodies, instance: int, i: int, j: int, k: int, corners: F64) -> float:
    """Lay the instance's skin on the face of vertices i, j, k; return its texels a metre of the mesh.

    The texture is laid on along the axis of the object that the face looks along most (cube mapping), so that
    a mesh needs no texture coordinates. It hides the mesh's own colour.
    """
    xs, ys, zs = meshes.vertices[0], meshes.vertices[1], meshes.vertices[2]
    ux, uy, uz = xs[j] - xs[i], ys[j] - ys[i], zs[j] - zs[i]
    vx, vy, vz = xs[k] - xs[i], ys[k] - ys[i], zs[k] - zs[i]
    nx, ny, nz = abs(uy * vz - uz * vy), abs(uz * vx - ux * vz), abs(ux * vy - uy * vx)
    across = 1 if nx >= ny and nx >= nz else 0
    down = 1 if nz > nx and nz > ny else 2
    place, size = bodies.skin_place[instance], float(bodies.skin_mips[bodies.skin[instance], 0, 1])
    density: float = size / place[0] * bodies.scale[instance]
    for corner, vertex in enumerate((i, j, k)):
        corners[PLACE, corner] = meshes.vertices[across, vertex] * density + place[1] * size
        corners[PLACE + 1, corner] = meshes.vertices[down, vertex] * density + place[2] * size
        corners[COLOR, corner] = corners[COLOR + 1, corner] = corners[COLOR + 2, corner] = 255.0
    return density


@inlined
def along(plane: F64, slot: np.uintp, number: int, x: float, y: float) -> tuple[np.float32, np.float32]:
    """A plane's value at pixel (x, y), and its step to the next pixel of the row."""
    slope = plane[slot, number, 0]
    return np.float32(slope * x + plane[slot, number, 1] * y + plane[slot, number, 2]), np.float32(slope)
