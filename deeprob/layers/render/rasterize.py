"""Which triangle each pixel shows, and where on it.

    points (B, V, 3): u, v, z of a mesh's vertices under B poses (project.py)     faces (F, 3)

    visible (B, H, W): the nearest face whose pixel-centre test holds, -1 where there is none
    of a pixel at (x, y) that shows a face of corners (u_i, v_i, z_i), i, j, k in turn:
        s_i = (u_j - x)(v_k - y) - (u_k - x)(v_j - y)       twice the area across from corner i
        w_i = s_i / z_i,   W = sum_i w_i,   b_i = w_i / W   barycentrics in space, not on the picture

    dw_i = (db_i - sum_j b_j db_j) / W,   ds_i = dw_i / z_i,   dz_i = -dw_i w_i / z_i
    du_i = ds_k (v_j - y) - ds_j (v_k - y),   dv_i = ds_j (u_k - x) - ds_k (u_j - x)

`visible` is a step function of the points and has no gradient: what a silhouette's motion changes is told by
antialias.py. The barycentrics of a pixel are smooth for as long as it shows the same face. Visibility is
found by the rasteriser that the simulator draws with, on the CPU and in float64.
Cost: 30 FLOPs a pixel forward, 60 back; saves the points. Fast path: kernels/render.py.
Source: Laine et al. 2020, Modular primitives for high-performance differentiable rendering, section 3.3.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect, expect_alike, is_plain, narrowed, widened
from .._values import expect_indices
from ..kernels import loops
from ..kernels import render as kernels

NEAR = 0.01  # in the unit of z: what is nearer to the camera is not drawn


class BarycentricsFunction(Function):
    """b (B, H, W, 3) of points (B, V, 3)."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(points: Tensor, faces: Tensor, visible: Tensor) -> Tensor:
        if is_plain(points):
            b = points.new_empty(*visible.shape, 3)
            arrays = (points.contiguous(), faces, visible, b)
            loops.run(kernels.barycentrics, len(points), *arrays)
            return b
        _, _, _, w, total, shown = corner_weights(widened(points), faces, visible)
        return narrowed(w / total * shown, points)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, db: Tensor) -> Any:
        points, faces, visible = ctx.saved_tensors
        if is_plain(db, points):
            dpoints = torch.zeros_like(points, memory_format=torch.contiguous_format)
            arrays = (points.contiguous(), faces, visible, db.contiguous(), dpoints)
            loops.run(kernels.barycentrics_adjoint, len(points), *arrays)
            return dpoints, None, None
        u, v, z, w, total, shown = corner_weights(widened(points), faces, visible)
        db = widened(db) * shown
        dw = (db - (w / total * db).sum(-1, keepdim=True)) / total
        ds = dw / z
        du = before(ds) * after(v) - after(ds) * before(v)
        dv = after(ds) * before(u) - before(ds) * after(u)
        dcorners = torch.stack([du, dv, -ds * w], -1)
        return narrowed(scattered(dcorners, faces, visible, points.shape[1]), points), None, None

    @staticmethod
    def tangent(ctx: Any, points_dot: Tensor, *_: None) -> Any:
        points, faces, visible = ctx.saved_tensors
        u, v, z, w, total, shown = corner_weights(points, faces, visible)
        u_dot, v_dot, z_dot = taken(points_dot, faces, visible).unbind(-1)
        s_dot = after(u_dot) * before(v) + after(u) * before(v_dot)
        s_dot = s_dot - before(u_dot) * after(v) - before(u) * after(v_dot)
        w_dot = (s_dot - w * z_dot) / z
        return (w_dot - w / total * w_dot.sum(-1, keepdim=True)) / total * shown


def corner_weights(points: Tensor, faces: Tensor, visible: Tensor) -> tuple[Tensor, ...]:
    """Return u - x, v - y, z and w of the corners (B, H, W, 3), W, and where a face is shown (B, H, W, 1)."""
    shown = (visible >= 0)[..., None]
    u, v, z = torch.where(shown[..., None], taken(points, faces, visible), 1).unbind(-1)
    height, width = visible.shape[1:]
    u = u - torch.arange(width, dtype=u.dtype, device=u.device)[:, None]
    v = v - torch.arange(height, dtype=v.dtype, device=v.device)[:, None, None]
    w = (after(u) * before(v) - before(u) * after(v)) / z
    return u, v, z, w, torch.where(shown, w.sum(-1, keepdim=True), 1), shown


def after(corners: Tensor) -> Tensor:
    """Each corner's next one, j."""
    return corners.roll(-1, -1)


def before(corners: Tensor) -> Tensor:
    """Each corner's last one, k."""
    return corners.roll(1, -1)


def corner_index(faces: Tensor, visible: Tensor) -> Tensor:
    """Return the vertices (B, H * W * 3) of what each pixel shows; face 0's where it shows none."""
    return faces[visible.clamp_min(0)].flatten(1)


def taken(values: Tensor, faces: Tensor, visible: Tensor) -> Tensor:
    """Return the corners' values (B, H, W, 3, C) of values (B, V, C)."""
    index = corner_index(faces, visible)[..., None].expand(-1, -1, values.shape[-1])
    return values.gather(1, index).reshape(*visible.shape, 3, values.shape[-1])


def scattered(corners: Tensor, faces: Tensor, visible: Tensor, count: int) -> Tensor:
    """Return the adjoint of `taken`: corners (B, H, W, 3, C) added up at the vertices (B, V, C)."""
    flat = corners.flatten(1, 3)
    index = corner_index(faces, visible)[..., None].expand_as(flat)
    total = torch.zeros_like(flat[:, :1]).expand(-1, count, -1)
    return total.scatter_add(1, index, flat)


def visible_faces(
    points: Tensor, faces: Tensor, size: tuple[int, int], cull: bool = False, near: float = NEAR
) -> Tensor:
    """Return the face int64 (B, H, W) that each pixel shows of points (B, V, 3), -1 where there is none.

    size: (H, W). cull: leave out what is wound clockwise, the back of a closed surface. A pose with a point
    that is not finite shows nothing. Raises ValueError where shapes or indices do not fit.
    """
    expect_mesh("visible_faces", points, faces)
    expect(len(size) == 2 and min(size) > 0, "visible_faces", "size (H, W) of some pixels", size)
    from deeprob.geometry.raster import draw_faces, make_buffers

    triangles = kernels.as_faces(faces)
    pixels = points.detach().to("cpu", torch.float64)
    finite = pixels.isfinite().flatten(1).all(1).tolist()
    u, v, z = pixels.unbind(-1)
    homogeneous = torch.stack([u * z, v * z, z, u, v], 1).numpy()
    buffers = make_buffers(*size, 1, 0, len(faces))
    visible = torch.full((len(points), *size), -1)
    for pose, arrays in enumerate(homogeneous):
        if finite[pose]:
            buffers.inverse_depth[:] = 0.0
            kernels.draw(draw_faces, arrays, triangles, near, cull, buffers)
            shown = buffers.inverse_depth > 0
            visible[pose].numpy()[shown] = buffers.face[shown]
    return visible.to(points.device)


def barycentrics(points: Tensor, faces: Tensor, visible: Tensor) -> Tensor:
    """Return where on its face each pixel lies: (B, H, W, 3), of sum 1, or 0 where none is shown.

    points: (B, V, 3), pixels and depth. faces: int64 (F, 3). visible: int64 (B, H, W), of `visible_faces`.
    Raises ValueError where shapes, dtypes or indices do not fit.
    """
    expect_mesh("barycentrics", points, faces)
    expect_visible("barycentrics", visible, len(points), faces)
    b: Tensor = BarycentricsFunction.apply(points, faces, visible)
    return b


def rasterize(
    points: Tensor, faces: Tensor, size: tuple[int, int], cull: bool = False, near: float = NEAR
) -> tuple[Tensor, Tensor]:
    """Return barycentrics (B, H, W, 3) and visible faces int64 (B, H, W) of points (B, V, 3).

    Raises ValueError where shapes, dtypes or indices do not fit.
    """
    visible = visible_faces(points, faces, size, cull, near)
    return barycentrics(points, faces, visible), visible


def expect_mesh(layer: str, points: Tensor, faces: Tensor) -> None:
    """Raise ValueError unless points (B, V, 3) and faces (F, 3), at least one, fit each other."""
    expect(points.dim() == 3 and points.shape[2] == 3, layer, "points (B, V, 3)", points)
    expect_alike(layer, points=points)
    expect_faces(layer, faces, points.shape[1])


def expect_faces(layer: str, faces: Tensor, vertices: int) -> None:
    """Raise ValueError unless faces int64 (F, 3), at least one, name vertices below that many."""
    fits = faces.dim() == 2 and faces.shape[1] == 3 and len(faces) > 0 and faces.dtype == torch.int64
    expect(fits, layer, "faces int64 (F, 3), at least one", faces)
    expect_indices(layer, faces, vertices)


def expect_visible(layer: str, visible: Tensor, poses: int, faces: Tensor) -> None:
    """Raise ValueError unless visible int64 (B, H, W) names faces, or -1."""
    fits = visible.dim() == 3 and len(visible) == poses and visible.dtype == torch.int64
    expect(fits, layer, f"visible int64 ({poses}, H, W)", visible)
    expect_indices(layer, visible + 1, len(faces) + 1)
