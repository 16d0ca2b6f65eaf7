"""Shadow map: what the lamp sees, as the height towards the lamp of the first surface it meets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprob.geometry.kernel import F32, F64, I32, I64, inlined, kernel
from deeprob.geometry.mesh import Mesh

CASTER_CELLS = 12  # shadows are thrown by meshes of this resolution along their longest side
NOTHING = -1e30


class Casters(NamedTuple):
    """Coarse meshes that throw the shadows, like Meshes: vertices (V, 3), faces (F, 3); points scratch."""

    vertices: F64
    faces: I32
    vertex_start: I64
    face_start: I64
    cull: NDArray[np.bool_]
    points: F64


def pack_casters(meshes: Sequence[Mesh]) -> Casters:
    """Coarse versions of the meshes, packed."""
    coarse = [_coarse(mesh) for mesh in meshes]
    return Casters(
        vertices=np.concatenate([vertices for vertices, _ in coarse]),
        faces=np.concatenate([faces for _, faces in coarse]),
        vertex_start=np.cumsum([0, *(len(vertices) for vertices, _ in coarse)], dtype=np.int64),
        face_start=np.cumsum([0, *(len(faces) for _, faces in coarse)], dtype=np.int64),
        cull=np.array([mesh.closed for mesh in meshes]),
        points=np.empty((max(len(vertices) for vertices, _ in coarse), 3)),
    )


def _coarse(mesh: Mesh) -> tuple[F64, I32]:
    """Vertex clustering (Rossignac and Borrel, 1993): the vertices of one grid cell become their mean."""
    low, cell = mesh.vertices.min(axis=0), mesh.extents.max() / CASTER_CELLS
    cells = np.floor((mesh.vertices - low) / cell).astype(np.int64)
    _, index, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    index = index.reshape(-1)
    vertices = np.stack([np.bincount(index, mesh.vertices[:, k]) / count for k in range(3)], axis=1)
    faces = index[mesh.faces]
    kept = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    first = faces[kept].argmin(axis=1)[:, None]  # the same face from any of its corners: once, winding kept
    faces = np.take_along_axis(faces[kept], (first + np.arange(3)) % 3, axis=1)
    return vertices, np.unique(faces, axis=0).astype(np.int32)


@kernel
def shadow_map(casters: Casters, models: I64, A: F64, out: F32, roof: F32) -> None:
    """Write heights (S, S) for the instances of `models` (n,); A (n, 3, 4): object to pixel and height.

    roof (S - 1, S - 1): the greatest of the four heights around each place between pixels. What is not below
    it is in the light: one look instead of four for most points.
    """
    size = out.shape[0]
    points = casters.points
    out[:] = NOTHING
    for i in range(len(models)):
        model = models[i]
        M = A[i]
        first = casters.vertex_start[model]
        for k in range(casters.vertex_start[model + 1] - first):
            x, y, z = (
                casters.vertices[first + k, 0],
                casters.vertices[first + k, 1],
                casters.vertices[first + k, 2],
            )
            for row in range(3):
                points[k, row] = M[row, 0] * x + M[row, 1] * y + M[row, 2] * z + M[row, 3]
        for f in range(casters.face_start[model], casters.face_start[model + 1]):
            a, b, c = casters.faces[f, 0], casters.faces[f, 1], casters.faces[f, 2]
            ua, ub, uc = points[a, 0], points[b, 0], points[c, 0]
            x0, x1 = max(0.0, np.ceil(min(ua, ub, uc))), min(size - 1.0, np.floor(max(ua, ub, uc)))
            if x0 > x1:
                continue
            va, vb, vc = points[a, 1], points[b, 1], points[c, 1]
            y0, y1 = max(0.0, np.ceil(min(va, vb, vc))), min(size - 1.0, np.floor(max(va, vb, vc)))
            area = (ub - ua) * (vc - va) - (uc - ua) * (vb - va)
            if y0 > y1 or area == 0.0 or (casters.cull[model] and area < 0.0):
                continue  # of a closed shape the side towards the lamp is enough
            inverse = 1.0 / area
            bx, by, cx, cy = (
                (vc - va) * inverse,
                (ua - uc) * inverse,
                (va - vb) * inverse,
                (ub - ua) * inverse,
            )
            ha = points[a, 2]
            hb, hc = points[b, 2] - ha, points[c, 2] - ha
            for y in range(int(y0), int(y1) + 1):
                row = out[np.uint32(y)]  # an index without a sign: nothing to wrap
                for x in range(int(x0), int(x1) + 1):
                    wb = (x - ua) * bx + (y - va) * by
                    wc = (x - ua) * cx + (y - va) * cy
                    if wb >= 0.0 and wc >= 0.0 and wb + wc <= 1.0:
                        row[np.uint32(x)] = max(row[np.uint32(x)], ha + wb * hb + wc * hc)
    for y in range(size - 1):
        above, below, highest = out[y], out[y + 1], roof[y]
        for x in range(size - 1):
            highest[x] = max(max(above[x], above[x + 1]), max(below[x], below[x + 1]))


@inlined
def lit(shadow: F32, u: float, v: float, height: float) -> float:
    """Share of the lamp, 0..1, that reaches a point at shadow pixel (u, v) and this height towards the lamp.

    Four-tap percentage-closer filtering (Reeves, Salesin and Cook, 1987); outside the map all of it does.
    """
    size = shadow.shape[0]
    if not (u >= 0.0 and v >= 0.0 and u < size - 1 and v < size - 1):
        return 1.0
    j, i = np.uint32(u), np.uint32(v)  # without a sign: nothing to wrap
    below, right = i + np.uint32(1), j + np.uint32(1)
    a, b = shadow[i, j] <= height, shadow[i, right] <= height
    c, d = shadow[below, j] <= height, shadow[below, right] <= height
    if a and b and c and d:
        return 1.0
    if not (a or b or c or d):
        return 0.0
    s, t = u - j, v - i
    top = (1.0 - s if a else 0.0) + (s if b else 0.0)
    bottom = (1.0 - s if c else 0.0) + (s if d else 0.0)
    return (1.0 - t) * top + t * bottom
