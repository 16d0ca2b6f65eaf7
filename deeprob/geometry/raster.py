"""The rasteriser: triangles to pixels, in numba.

Homogeneous rasterisation (Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates",
1997): with h = K p the homogeneous pixel of a camera point p, the edge function of a triangle's vertex i is
    e_i(u, v) = (h_j x h_k) . (u, v, 1) / det,    det = h_0 . (h_1 x h_2),
its share of the inverse depth: sum_i e_i = 1/Z, and e_i / sum e is the perspective-correct barycentric
coordinate. This holds also for triangles that reach behind the camera, so near clipping is one comparison of
1/Z and no triangle is ever cut. A pixel is covered when all e_i >= 0. An integer coordinate is a pixel's
centre.

What a pixel shows is decided first (inverse depth, face, owner), and shaded once, in table.py and shade.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprob.geometry.kernel import F32, F64, I32, I64, U8, U32, Flags, inlined, kernel

NOBODY = 255  # the owner of a pixel that shows no instance
FAR = 1e30  # a bound that is none
MAX_INSTANCES = 32  # amodal masks are bits of one uint32 a pixel


class Meshes(NamedTuple):
    """All models of a library in flat arrays.

    Model m has vertices[:, vertex_start[m] : vertex_start[m + 1]], and so on. vertices float64 (3, V); faces
    int32 (F, 3), counted from the model's first vertex; normals, colors float32 (F, 3, 3); uv float32 (F, 3,
    2); texture int32 (F,), -1 none; texel_density float32 (F,), texels a metre at full resolution; cull bool
    (M,), back faces are never seen; texels uint32 (T,), red in the lowest byte; mips int64 (textures, LEVELS,
    3): first texel, height, width of each texture's successive halvings, powers of two.
    """

    vertices: F64
    faces: I32
    normals: F32
    colors: F32
    uv: F32
    texture: I32
    texel_density: F32
    vertex_start: I64
    face_start: I64
    cull: NDArray[np.bool_]
    texels: U32
    mips: I64


class Buffers(NamedTuple):
    """What the rasteriser writes, (H, W) each unless said otherwise.

    inverse_depth float32, 1/Z, 0 where nothing is; face int32; owner uint8; cover uint32, bit i: instance i's
    silhouette; amodal int64 (n, 5): each silhouette's pixels, left, top, right, bottom inside the picture;
    points float64 (5, vertices of all instances): homogeneous pixel, pixel; start int64 (n,), first point of
    each. drawn bool (faces of all instances,): has a pixel, though others may hide it since; slot int64 (n,),
    first of each;
    drawn_box int64 (4,): left, top, right, bottom of the rectangle that all of it lies in.
    """

    inverse_depth: F32
    face: I32
    owner: U8
    cover: U32
    amodal: I64
    points: F64
    start: I64
    drawn: Flags
    slot: I64
    drawn_box: I64


def make_buffers(height: int, width: int, instances: int, vertices: int, faces: int) -> Buffers:
    """Buffers for pictures of this size, and at most so many instances with so many vertices and faces."""
    return Buffers(
        inverse_depth=np.empty((height, width), np.float32),
        face=np.empty((height, width), np.int32),
        owner=np.empty((height, width), np.uint8),
        cover=np.empty((height, width), np.uint32),
        amodal=np.empty((instances, 5), np.int64),
        points=np.empty((5, vertices)),
        start=np.empty(instances, np.int64),
        drawn=np.empty(faces, np.bool_),
        slot=np.empty(instances, np.int64),
        drawn_box=np.empty(4, np.int64),
    )


@kernel
def project(meshes: Meshes, model: int, P: F64, points: F64, start: int) -> float:
    """Write the homogeneous pixels of a model under P (3, 4) = K T, and return its greatest depth."""
    first = meshes.vertex_start[model]
    count = meshes.vertex_start[model + 1] - first
    xs, ys, zs = (
        meshes.vertices[0, first : first + count],
        meshes.vertices[1, first : first + count],
        meshes.vertices[2, first : first + count],
    )
    us, vs, ws = (
        points[0, start : start + count],
        points[1, start : start + count],
        points[2, start : start + count],
    )
    px, py = points[3, start : start + count], points[4, start : start + count]
    a, b, c, d = P[0, 0], P[0, 1], P[0, 2], P[0, 3]
    e, f, g, h = P[1, 0], P[1, 1], P[1, 2], P[1, 3]
    i, j, k, m = P[2, 0], P[2, 1], P[2, 2], P[2, 3]
    far = -np.inf
    for n in range(count):
        x, y, z = xs[n], ys[n], zs[n]
        w = i * x + j * y + k * z + m
        u = a * x + b * y + c * z + d
        v = e * x + f * y + g * z + h
        us[n], vs[n], ws[n] = u, v, w
        inverse = 1.0 / w
        px[n], py[n] = u * inverse, v * inverse
        far = max(far, w)
    return far


@inlined
def bounds(
    points: F64, a: int, b: int, c: int, near: float, cull: bool, left: int, top: int, right: int, bottom: int
) -> tuple[int, int, int, int]:
    """Pixels x0, y0, x1, y1 (inclusive) that a triangle may cover; empty, x0 > x1, where it is not seen."""
    wa, wb, wc = points[2, a], points[2, b], points[2, c]
    if wa >= near and wb >= near and wc >= near:
        ua, ub, uc = points[3, a], points[3, b], points[3, c]
        va, vb, vc = points[4, a], points[4, b], points[4, c]
        if cull and (ub - ua) * (vc - va) >= (uc - ua) * (vb - va):
            return 0, 0, -1, -1
        x0, x1 = max(left, np.ceil(min(ua, ub, uc))), min(right, np.floor(max(ua, ub, uc)))
        if x0 > x1:
            return 0, 0, -1, -1
        y0, y1 = max(top, np.ceil(min(va, vb, vc))), min(bottom, np.floor(max(va, vb, vc)))
        if y0 > y1:
            return 0, 0, -1, -1
        return int(x0), int(y0), int(x1), int(y1)
    if wa < near and wb < near and wc < near:
        return 0, 0, -1, -1
    return left, top, right, bottom


@inlined
def edges(points: F64, a: int, b: int, c: int) -> tuple[float, ...]:
    """The nine coefficients of the edge functions, and det; positive inside, whatever the winding."""
    ua, va, wa = points[0, a], points[1, a], points[2, a]
    ub, vb, wb = points[0, b], points[1, b], points[2, b]
    uc, vc, wc = points[0, c], points[1, c], points[2, c]
    ax, ay, az = vb * wc - wb * vc, wb * uc - ub * wc, ub * vc - vb * uc
    bx, by, bz = vc * wa - wc * va, wc * ua - uc * wa, uc * va - vc * ua
    cx, cy, cz = va * wb - wa * vb, wa * ub - ua * wb, ua * vb - va * ub
    det = ua * ax + va * ay + wa * az
    s = 1.0 / det
    return ax * s, ay * s, az * s, bx * s, by * s, bz * s, cx * s, cy * s, cz * s, det


@inlined
def _side(slope: float, along_y: float, rest: float) -> tuple[float, float, float, float]:
    """Where an edge function slope x + along_y y + rest is positive: x >= a y + b and x <= c y + d."""
    if slope > 0.0:
        return -along_y / slope, -rest / slope, 0.0, FAR
    if slope < 0.0:
        return 0.0, -FAR, -along_y / slope, -rest / slope
    return 0.0, -FAR, 0.0, FAR


@inlined
def _measure(cover: U32, bit: np.uint32, left: int, top: int, right: int, bottom: int, out: I64) -> None:
    """Pixels, left, top, right, bottom of what has this bit inside a rectangle (inclusive)."""
    height, width = cover.shape
    pixels, u0, v0, u1, v1 = 0, width, height, -1, -1
    for y in range(top, bottom + 1):
        row = cover[np.uint32(y), left : right + 1]
        count, low, high = 0, width, -1
        for n in range(len(row)):
            inside = row[n] & bit != 0
            count += 1 if inside else 0
            low, high = min(low, n if inside else width), max(high, n if inside else -1)
        if count > 0:
            pixels += count
            u0, u1, v0, v1 = min(u0, left + low), max(u1, left + high), min(v0, y), y
    out[0], out[1], out[2], out[3], out[4] = pixels, u0, v0, u1, v1


@kernel
def draw_faces(
    points: F64,
    start: int,
    faces: I32,
    first_face: int,
    last_face: int,
    near: float,
    cull: bool,
    instance: int,
    bit: np.uint32,
    slot: int,
    buffers: Buffers,
) -> tuple[int, int, int, int]:
    """Draw faces first_face..last_face - 1 of one instance over what the buffers hold.

    points (5, ...): homogeneous pixel and pixel of each vertex, from `start`. slot: of its first
    face in `drawn`. Returns left, top, right, bottom of the rectangle that its triangles lie in.
    """
    inverse_depth, face, owner, cover = buffers.inverse_depth, buffers.face, buffers.owner, buffers.cover
    height, width = inverse_depth.shape
    limit = 1.0 / near
    left, top, right, bottom = width, height, -1, -1
    for f in range(first_face, last_face):
        a, b, c = start + faces[f, 0], start + faces[f, 1], start + faces[f, 2]
        x0, y0, x1, y1 = bounds(points, a, b, c, near, cull, 0, 0, width - 1, height - 1)
        if x0 > x1:
            continue
        ax, ay, az, bx, by, bz, cx, cy, cz, det = edges(points, a, b, c)
        if det == 0.0 or (cull and det > 0.0):
            continue
        top, bottom = min(top, y0), max(bottom, y1)
        left, right = min(left, x0), max(right, x1)
        wins = False
        # Of each row only the span that all three edges bound, and at most one pixel more on each
        # side, is looked at.
        al, bl, ar, br = _side(ax, ay, az)
        cl, dl, cr, dr = _side(bx, by, bz)
        el, fl, er, fr = _side(cx, cy, cz)
        for y in range(y0, y1 + 1):
            ea, eb, ec = ay * y + az, by * y + bz, cy * y + cz
            low = max(max(al * y + bl, cl * y + dl), max(el * y + fl, x0 - 0.5))
            high = min(min(ar * y + br, cr * y + dr), min(er * y + fr, x1 + 0.5))
            first, last = max(x0, int(np.floor(low))), min(x1, int(np.ceil(high)))
            inverses, covers = inverse_depth[np.uint32(y)], cover[np.uint32(y)]
            shown, owners = face[np.uint32(y)], owner[np.uint32(y)]
            for x in range(first, last + 1):
                wa, wb, wc = ea + ax * x, eb + bx * x, ec + cx * x
                if min(min(wa, wb), wc) < 0.0:
                    continue
                inverse = wa + wb + wc
                if inverse > limit:
                    continue
                n = np.uint32(x)
                covers[n] |= bit
                if inverse > inverses[n]:
                    inverses[n] = inverse
                    shown[n] = f
                    owners[n] = instance
                    wins = True
        buffers.drawn[slot + f - first_face] = wins
    return left, top, right, bottom


@kernel
def rasterize(meshes: Meshes, models: I64, P: F64, near: float, labelled: int, buffers: Buffers) -> None:
    """Fill the buffers with instances 0..n-1 of `models` (n,) under P (n, 3, 4) = K [s R | t].

    The first `labelled` instances get silhouettes in `cover` and `amodal`; the others only hide what is
    behind them.
    """
    points, cover = buffers.points, buffers.cover
    height, width = buffers.inverse_depth.shape
    buffers.inverse_depth[:] = 0.0
    buffers.owner[:] = NOBODY
    cover[:] = 0
    buffers.drawn[:] = False
    box = buffers.drawn_box
    box[0], box[1], box[2], box[3] = width, height, -1, -1
    start = slot = 0
    for i in range(len(models)):
        model = models[i]
        buffers.start[i], buffers.slot[i] = start, slot
        first_face, last_face = meshes.face_start[model], meshes.face_start[model + 1]
        left, top, right, bottom = width, height, -1, -1
        bit = np.uint32(1) << np.uint32(i) if i < labelled else np.uint32(0)
        cull = meshes.cull[model]
        if project(meshes, model, P[i], points, start) >= near:
            left, top, right, bottom = draw_faces(
                points, start, meshes.faces, first_face, last_face, near, cull, i, bit, slot, buffers
            )
        box[0], box[1], box[2], box[3] = (
            min(box[0], left),
            min(box[1], top),
            max(box[2], right),
            max(box[3], bottom),
        )
        slot += last_face - first_face
        start += meshes.vertex_start[model + 1] - meshes.vertex_start[model]
        if i < labelled:
            _measure(cover, bit, left, top, right, bottom, buffers.amodal[i])
