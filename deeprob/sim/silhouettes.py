"""Masks of single instances, and silhouettes beyond the picture's edge, in numba."""

from __future__ import annotations

import numpy as np

from deeprob.geometry.kernel import F64, I64, U8, U32, Flags, kernel
from deeprob.geometry.raster import Meshes, bounds, edges, project


@kernel
def silhouette(
    meshes: Meshes, model: int, P: F64, near: float, points: F64, canvas: U8, left: int, top: int
) -> tuple[int, int, int, int, int]:
    """Pixels, left, top, right, bottom of an object alone on a canvas (h, w) that begins at (left, top).

    The canvas is written, and 1 where the object is, inside the box of the object's points alone.
    """
    height, width = canvas.shape
    right, bottom = left + width - 1, top + height - 1
    pixels, u0, v0, u1, v1 = 0, left + width, top + height, left - 1, top - 1
    if project(meshes, model, P, points, 0) < near:
        return pixels, u0, v0, u1, v1
    count = meshes.vertex_start[model + 1] - meshes.vertex_start[model]
    x0, y0, x1, y1 = left, top, right, bottom  # all that is looked at
    if points[2, :count].min() >= near:
        us, vs = points[3, :count], points[4, :count]
        x0, x1 = int(max(left, np.ceil(us.min()))), int(min(right, np.floor(us.max())))
        y0, y1 = int(max(top, np.ceil(vs.min()))), int(min(bottom, np.floor(vs.max())))
    for y in range(y0, y1 + 1):
        canvas[y - top, x0 - left : max(x0, x1 + 1) - left] = 0
    limit = 1.0 / near
    cull = meshes.cull[model]
    for f in range(meshes.face_start[model], meshes.face_start[model + 1]):
        a, b, c = meshes.faces[f, 0], meshes.faces[f, 1], meshes.faces[f, 2]
        x0, y0, x1, y1 = bounds(points, a, b, c, near, cull, left, top, right, bottom)
        if x0 > x1:
            continue
        ax, ay, az, bx, by, bz, cx, cy, cz, det = edges(points, a, b, c)
        if det == 0.0 or (cull and det > 0.0):
            continue
        for y in range(y0, y1 + 1):
            ea, eb, ec = ay * y + az, by * y + bz, cy * y + cz
            row = canvas[np.uint32(y - top)]
            for x in range(x0, x1 + 1):
                wa, wb, wc = ea + ax * x, eb + bx * x, ec + cx * x
                inside = wa >= 0.0 and wb >= 0.0 and wc >= 0.0 and wa + wb + wc <= limit
                n = np.uint32(x - left)
                if inside and row[n] == 0:
                    row[n] = 1
                    pixels += 1
                    u0, v0, u1, v1 = min(u0, x), min(v0, y), max(u1, x), max(v1, y)
    return pixels, u0, v0, u1, v1


@kernel
def write_masks(owner: U8, cover: U32, instances: I64, visible: I64, amodal: I64, masks: Flags) -> None:
    """Set what `instances` (m,) cover in masks (m, 2, H, W) that are False: visible pixels, and silhouettes.

    visible, amodal (n, 5), of every instance: pixels, left, top, right, bottom (inclusive); nothing outside
    them is looked at.
    """
    for k in range(len(instances)):
        i = instances[k]
        who, bit = np.uint8(i), np.uint32(1) << np.uint32(i)
        left, top, right, bottom = visible[i, 1], visible[i, 2], visible[i, 3], visible[i, 4]
        for y in range(top, bottom + 1):
            owners, out = owner[y, left : right + 1], masks[k, 0, y, left : right + 1]
            for n in range(len(owners)):
                out[n] = owners[n] == who
        left, top, right, bottom = amodal[i, 1], amodal[i, 2], amodal[i, 3], amodal[i, 4]
        for y in range(top, bottom + 1):
            covers, out = cover[y, left : right + 1], masks[k, 1, y, left : right + 1]
            for n in range(len(covers)):
                out[n] = covers[n] & bit != 0
