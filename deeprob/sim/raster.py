"""The rasteriser: triangles to pixels, in numba.

Homogeneous rasterisation (Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates", 1997): with
h = K p the homogeneous pixel of a camera point p, the edge function of a triangle's vertex i is
    e_i(u, v) = (h_j x h_k) . (u, v, 1) / det,    det = h_0 . (h_1 x h_2),
its share of the inverse depth: sum_i e_i = 1/Z, and e_i / sum e is the perspective-correct barycentric coordinate.
This holds also for triangles that reach behind the camera, so near clipping is one comparison of 1/Z and no triangle
is ever cut. A pixel is covered when all e_i >= 0. An integer coordinate is a pixel's centre.

What a pixel shows is decided first (inverse depth, face, owner), and shaded once, in shade.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

NOBODY = 255  # the owner of a pixel that shows no instance
MAX_INSTANCES = 32  # amodal masks are bits of one uint32 a pixel


class Meshes(NamedTuple):
    """All models of a library in flat arrays; model m has vertices[vertex_start[m] : vertex_start[m + 1]], and so on.

    vertices float64 (V, 3); faces int32 (F, 3), counted from the model's first vertex; normals, colors float32
    (F, 3, 3); uv float32 (F, 3, 2); texture int32 (F,), -1 none; texel_density float32 (F,), texels a metre at full
    resolution; cull bool (M,), back faces are never seen; texels uint8 (T, 3); mips int64 (textures, LEVELS, 3):
    first texel, height, width of each texture's halved pictures.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    normals: NDArray[np.float32]
    colors: NDArray[np.float32]
    uv: NDArray[np.float32]
    texture: NDArray[np.int32]
    texel_density: NDArray[np.float32]
    vertex_start: NDArray[np.int64]
    face_start: NDArray[np.int64]
    cull: NDArray[np.bool_]
    texels: NDArray[np.uint8]
    mips: NDArray[np.int64]


class Buffers(NamedTuple):
    """What the rasteriser writes, (H, W) each unless said otherwise.

    inverse_depth float32, 1/Z, 0 where nothing is; face int32; owner uint8; cover uint32, bit i: instance i's
    silhouette; amodal int64 (n, 5): each silhouette's pixels, left, top, right, bottom inside the picture;
    points float64 (vertices of all instances, 5): homogeneous pixel and pixel; start int64 (n,).
    """

    inverse_depth: NDArray[np.float32]
    face: NDArray[np.int32]
    owner: NDArray[np.uint8]
    cover: NDArray[np.uint32]
    amodal: NDArray[np.int64]
    points: NDArray[np.float64]
    start: NDArray[np.int64]


def make_buffers(height: int, width: int, instances: int, vertices: int) -> Buffers:
    """Buffers for pictures of this size, of at most so many instances with so many vertices together."""
    return Buffers(
        inverse_depth=np.empty((height, width), np.float32),
        face=np.empty((height, width), np.int32),
        owner=np.empty((height, width), np.uint8),
        cover=np.empty((height, width), np.uint32),
        amodal=np.empty((instances, 5), np.int64),
        points=np.empty((vertices, 5)),
        start=np.empty(instances, np.int64),
    )


@njit(cache=True, error_model="numpy", inline="always")
def _project(meshes, model, P, near, points, start):
    """Write the homogeneous pixels of a model under P (3, 4) = K T; return whether any vertex lies beyond `near`."""
    visible = False
    first = meshes.vertex_start[model]
    for k in range(meshes.vertex_start[model + 1] - first):
        x, y, z = meshes.vertices[first + k, 0], meshes.vertices[first + k, 1], meshes.vertices[first + k, 2]
        w = P[2, 0] * x + P[2, 1] * y + P[2, 2] * z + P[2, 3]
        u = P[0, 0] * x + P[0, 1] * y + P[0, 2] * z + P[0, 3]
        v = P[1, 0] * x + P[1, 1] * y + P[1, 2] * z + P[1, 3]
        points[start + k, 0], points[start + k, 1], points[start + k, 2] = u, v, w
        if w >= near:
            visible = True
            points[start + k, 3], points[start + k, 4] = u / w, v / w
    return visible


@njit(cache=True, error_model="numpy", inline="always")
def _bounds(points, a, b, c, near, cull, left, top, right, bottom):
    """Pixel rectangle (x0, y0, x1, y1, inclusive) that a triangle may cover; empty, x0 > x1, where it is not seen."""
    wa, wb, wc = points[a, 2], points[b, 2], points[c, 2]
    if wa >= near and wb >= near and wc >= near:
        ua, va, ub, vb, uc, vc = (
            points[a, 3],
            points[a, 4],
            points[b, 3],
            points[b, 4],
            points[c, 3],
            points[c, 4],
        )
        if cull and (ub - ua) * (vc - va) >= (uc - ua) * (vb - va):
            return 0, 0, -1, -1
        x0, x1 = max(left, np.ceil(min(ua, ub, uc))), min(right, np.floor(max(ua, ub, uc)))
        y0, y1 = max(top, np.ceil(min(va, vb, vc))), min(bottom, np.floor(max(va, vb, vc)))
        if x0 > x1 or y0 > y1:
            return 0, 0, -1, -1
        return int(x0), int(y0), int(x1), int(y1)
    if wa < near and wb < near and wc < near:
        return 0, 0, -1, -1
    return int(left), int(top), int(right), int(bottom)


@njit(cache=True, error_model="numpy", inline="always")
def _edges(points, a, b, c):
    """The nine coefficients of the edge functions, divided by det, and det; positive inside, whatever the winding."""
    ua, va, wa = points[a, 0], points[a, 1], points[a, 2]
    ub, vb, wb = points[b, 0], points[b, 1], points[b, 2]
    uc, vc, wc = points[c, 0], points[c, 1], points[c, 2]
    ax, ay, az = vb * wc - wb * vc, wb * uc - ub * wc, ub * vc - vb * uc
    bx, by, bz = vc * wa - wc * va, wc * ua - uc * wa, uc * va - vc * ua
    cx, cy, cz = va * wb - wa * vb, wa * ub - ua * wb, ua * vb - va * ub
    det = ua * ax + va * ay + wa * az
    s = 1.0 / det
    return ax * s, ay * s, az * s, bx * s, by * s, bz * s, cx * s, cy * s, cz * s, det


@njit(cache=True, error_model="numpy")
def rasterize(meshes, models, P, near, labelled, buffers):
    """Fill the buffers with instances 0..n-1 of `models` (n,) under P (n, 3, 4) = K [s R | t].

    The first `labelled` instances get silhouettes in `cover` and `amodal`; the others only hide what is behind them.
    """
    inverse_depth, face, owner, cover = buffers.inverse_depth, buffers.face, buffers.owner, buffers.cover
    points = buffers.points
    height, width = inverse_depth.shape
    inverse_depth[:] = 0.0
    owner[:] = NOBODY
    cover[:] = 0
    limit = 1.0 / near
    next_start = 0
    for i in range(len(models)):
        model = models[i]
        start = next_start
        buffers.start[i] = start
        next_start += meshes.vertex_start[model + 1] - meshes.vertex_start[model]
        pixels, left, top, right, bottom = 0, width, height, -1, -1
        bit = np.uint32(1) << np.uint32(i) if i < labelled else np.uint32(0)
        if _project(meshes, model, P[i], near, points, start):
            cull = meshes.cull[model]
            for f in range(meshes.face_start[model], meshes.face_start[model + 1]):
                a, b, c = start + meshes.faces[f, 0], start + meshes.faces[f, 1], start + meshes.faces[f, 2]
                x0, y0, x1, y1 = _bounds(points, a, b, c, near, cull, 0, 0, width - 1, height - 1)
                if x0 > x1:
                    continue
                ax, ay, az, bx, by, bz, cx, cy, cz, det = _edges(points, a, b, c)
                if det == 0.0 or (cull and det > 0.0):
                    continue
                for y in range(y0, y1 + 1):
                    ea, eb, ec = ay * y + az, by * y + bz, cy * y + cz
                    for x in range(x0, x1 + 1):
                        wa, wb, wc = ea + ax * x, eb + bx * x, ec + cx * x
                        if wa < 0.0 or wb < 0.0 or wc < 0.0:
                            continue
                        inverse = wa + wb + wc
                        if inverse > limit:
                            continue
                        if bit != 0 and cover[y, x] & bit == 0:
                            cover[y, x] |= bit
                            pixels += 1
                            left, top, right, bottom = (
                                min(left, x),
                                min(top, y),
                                max(right, x),
                                max(bottom, y),
                            )
                        if inverse > inverse_depth[y, x]:
                            inverse_depth[y, x] = inverse
                            face[y, x] = f
                            owner[y, x] = i
        if i < labelled:
            amodal = buffers.amodal[i]
            amodal[0], amodal[1], amodal[2], amodal[3], amodal[4] = pixels, left, top, right, bottom


@njit(cache=True, error_model="numpy")
def silhouette_area(meshes, model, P, near, points, canvas, left, top):
    """Pixels of an object alone on a canvas (uint8, h, w, zeroed here) whose first pixel is (left, top)."""
    height, width = canvas.shape
    canvas[:] = 0
    pixels = 0
    if not _project(meshes, model, P, near, points, 0):
        return pixels
    limit = 1.0 / near
    cull = meshes.cull[model]
    for f in range(meshes.face_start[model], meshes.face_start[model + 1]):
        a, b, c = meshes.faces[f, 0], meshes.faces[f, 1], meshes.faces[f, 2]
        x0, y0, x1, y1 = _bounds(points, a, b, c, near, cull, left, top, left + width - 1, top + height - 1)
        if x0 > x1:
            continue
        ax, ay, az, bx, by, bz, cx, cy, cz, det = _edges(points, a, b, c)
        if det == 0.0 or (cull and det > 0.0):
            continue
        for y in range(y0, y1 + 1):
            ea, eb, ec = ay * y + az, by * y + bz, cy * y + cz
            for x in range(x0, x1 + 1):
                wa, wb, wc = ea + ax * x, eb + bx * x, ec + cx * x
                if (
                    wa >= 0.0
                    and wb >= 0.0
                    and wc >= 0.0
                    and wa + wb + wc <= limit
                    and canvas[y - top, x - left] == 0
                ):
                    canvas[y - top, x - left] = 1
                    pixels += 1
    return pixels
