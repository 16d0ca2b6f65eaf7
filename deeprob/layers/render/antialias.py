"""Smooth silhouettes: where an edge crosses between two pixels, both know how far.

    I (B, H, W, C) a picture, one face a pixel     points (B, V, 3)
    crossings (N, 4): pixels a and b, next to each other, and the vertices i and j of a silhouette's edge that
    passes between their centres, the surface on a's side     shares e (N,), see below

    with p the coordinate along the pair, q that across it, q_a the line that both centres lie on:
        r = (q_a - q_i) / (q_j - q_i),   c = p_i + r (p_j - p_i)     where the edge crosses that line
        d = |c - p_a|                    0 to 1: how far the surface reaches from a's centre to b's
        y = I;   y[b if d > 1/2 else a] += e (d - 1/2) (I[a] - I[b])

    The surface covers a's half of the way (d = 1/2): nothing to blend. It reaches into b's pixel: b takes as
    much of a's colour. It ends in a's pixel: a takes as much of b's. When the edge passes over a centre, d
    jumps from 1 to 0, a and b move on by one, and the pixel in between is half of each before and after.

    g = e dy[b if d > 1/2 else a]
    dI = dy;   dI[a] += (d - 1/2) g,   dI[b] -= (d - 1/2) g
    dd = g . (I[a] - I[b])           a mask: how much more of the pixel the surface covers if the edge moves
    dc = dd sign(p_b - p_a),   m = (p_j - p_i) / (q_j - q_i)
    dp_i = (1 - r) dc,   dp_j = r dc,   dq_i = -m (1 - r) dc,   dq_j = -m r dc

Pixels side by side and pixels above each other are both blended, by the shares sin^2 and cos^2 of the edge's
angle. They add up to 1: an edge that moves by one pixel along its normal changes one pixel of area for each
of its length, whatever the angle. The shares have no gradient: an edge that turns moves no area by them.
As in the source, but for two things. There each edge is blended in one direction, which jumps at 45 degrees.
And there the pixels look for an edge among those of the triangle that they show; here the edges look for
pixels, so that a mesh whose triangles are smaller than a pixel has whole silhouettes too. Not differentiable,
and not quite continuous, where a corner of the outline passes over a line of centres, and at parts thinner
than a pixel.
Cost: 30 + 4 C FLOPs a crossing each way; saves the inputs. Fast path: kernels/render.py.
Source: Laine et al. 2020, Modular primitives for high-performance differentiable rendering, section 3.6.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect, expect_alike, is_plain, narrowed, widened
from .._values import expect_indices
from ..kernels import loops
from ..kernels import render as kernels
from .rasterize import NEAR, expect_mesh, expect_visible


class AntialiasFunction(Function):
    """y = I, blended at the crossings."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(image: Tensor, points: Tensor, crossings: Tensor, shares: Tensor) -> Tensor:
        if is_plain(image, points, shares):
            y = image.clone(memory_format=torch.contiguous_format)
            arrays = (image.contiguous(), points.contiguous(), crossings, shares, y)
            loops.run(kernels.blend, 1, *arrays)
            return y
        pixels, (a, b) = image.flatten(0, 2), crossings[:, :2].unbind(1)
        d, *_ = reach(points, crossings, image.shape)
        blended = (shares * (d - 0.5))[:, None] * (pixels[a] - pixels[b])
        y = widened(pixels).index_add(0, torch.where(d > 0.5, b, a), blended)
        return narrowed(y, image).reshape(image.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        image, points, crossings, shares = ctx.saved_tensors
        if is_plain(dy, image, points, shares):
            dimage = dy.clone(memory_format=torch.contiguous_format)
            dpoints = torch.zeros_like(points, memory_format=torch.contiguous_format)
            arrays = (image.contiguous(), points.contiguous(), crossings, shares, dy.contiguous())
            loops.run(kernels.blend_adjoint, 1, *arrays, dimage, dpoints)
            return dimage, dpoints, None, None
        pixels, dpixels = widened(image).flatten(0, 2), widened(dy).flatten(0, 2)
        a, b, i, j = crossings.unbind(1)
        d, sign, r, m, side_by_side = reach(points, crossings, image.shape)
        g = shares[:, None] * dpixels[torch.where(d > 0.5, b, a)]
        moved = (d - 0.5)[:, None] * g
        dimage = dpixels.index_add(0, a, moved).index_add(0, b, -moved)
        dc = sign * (g * (pixels[a] - pixels[b])).sum(1)
        dpoints = torch.zeros_like(widened(points)).flatten(0, 1)
        for vertex, share in ((i, 1 - r), (j, r)):
            dp, dq = share * dc, -m * share * dc
            uv = torch.stack([torch.where(side_by_side, dp, dq), torch.where(side_by_side, dq, dp)], 1)
            dpoints = dpoints.index_add(0, vertex, torch.cat([uv, torch.zeros_like(uv[:, :1])], 1))
        dimage = narrowed(dimage, image).reshape(image.shape)
        return dimage, narrowed(dpoints, points).reshape(points.shape), None, None

    @staticmethod
    def tangent(ctx: Any, image_dot: Tensor, points_dot: Tensor, *_: Any) -> Any:
        image, points, crossings, shares = ctx.saved_tensors
        pixels, pixels_dot = image.flatten(0, 2), image_dot.flatten(0, 2)
        a, b, i, j = crossings.unbind(1)
        d, sign, r, m, side_by_side = reach(points, crossings, image.shape)
        moves = []
        for vertex, share in ((i, 1 - r), (j, r)):
            u_dot, v_dot = points_dot.flatten(0, 1)[vertex, :2].unbind(1)
            moves.append(share * torch.where(side_by_side, u_dot - m * v_dot, v_dot - m * u_dot))
        d_dot = sign * (moves[0] + moves[1])
        change = (d - 0.5)[:, None] * (pixels_dot[a] - pixels_dot[b])
        change = change + d_dot[:, None] * (pixels[a] - pixels[b])
        change = shares[:, None] * change
        return pixels_dot.index_add(0, torch.where(d > 0.5, b, a), change).reshape(image.shape)


def reach(
    points: Tensor, crossings: Tensor, shape: torch.Size
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return d, the sign of p_b - p_a, r, m and whether a and b lie side by side (N,)."""
    height, width = shape[1:3]
    a, b, i, j = crossings.unbind(1)
    side_by_side = (b - a).abs() == 1
    column, row = a % width, a // width % height
    ends = widened(points).flatten(0, 1)
    (u_i, v_i, _), (u_j, v_j, _) = ends[i].unbind(1), ends[j].unbind(1)
    p_i, q_i = torch.where(side_by_side, u_i, v_i), torch.where(side_by_side, v_i, u_i)
    p_j, q_j = torch.where(side_by_side, u_j, v_j), torch.where(side_by_side, v_j, u_j)
    p_a, q_a = torch.where(side_by_side, column, row), torch.where(side_by_side, row, column)
    r, m = (q_a - q_i) / (q_j - q_i), (p_j - p_i) / (q_j - q_i)
    sign = (b - a).sign().to(ends.dtype)
    return sign * (p_i + r * (p_j - p_i) - p_a), sign, r, m, side_by_side


def mesh_edges(faces: Tensor) -> Tensor:
    """Return the edges int64 (E, 4) of faces int64 (F, 3): both ends, and the corners across from it.

    The fourth is -1 where a single face has the edge. One that more than two share counts once for each.
    """
    expect(faces.dim() == 2 and faces.shape[1] == 3, "mesh_edges", "faces (F, 3)", faces)
    a, b, c = faces.unbind(1)
    ends = torch.stack([torch.cat([a, b, c]), torch.cat([b, c, a])], 1).sort(1).values
    across = torch.cat([c, a, b])
    _, group, count = torch.unique(ends, dim=0, return_inverse=True, return_counts=True)
    order = group.argsort(stable=True)
    group, count = group[order], count[group[order]]
    first = torch.ones_like(group, dtype=torch.bool)
    first[1:] = group[1:] != group[:-1]
    paired = count == 2
    other = torch.full_like(across, -1)
    other[:-1] = torch.where(paired[:-1] & first[:-1], across[order][1:], -1)
    kept = ~paired | first
    return torch.cat([ends[order], across[order, None], other[:, None]], 1)[kept]


def silhouette_crossings(
    points: Tensor, edges: Tensor, faces: Tensor, visible: Tensor, near: float = NEAR
) -> tuple[Tensor, Tensor]:
    """Return where silhouettes pass between pixels: crossings int64 (N, 4) and shares (N,) of all poses.

    points: (B, V, 3). edges: int64 (E, 4), of `mesh_edges`. visible: int64 (B, H, W), of `visible_faces`. An
    edge is a silhouette where both of its faces lie on one side of it on the picture. Of several between two
    pixels the nearest counts. a and b count through all poses' pixels, i and j through all poses' points.
    Raises ValueError where shapes or indices do not fit.
    """
    expect_mesh("silhouette_crossings", points, faces)
    expect_visible("silhouette_crossings", visible, len(points), faces)
    expect(edges.dim() == 2 and edges.shape[1] == 4, "silhouette_crossings", "edges (E, 4)", edges)
    places = points.detach().to("cpu", torch.float64).contiguous()
    height, width = visible.shape[1:]
    found = torch.empty(len(points), 2 * height * width, 4, dtype=torch.int64)
    shares = torch.empty(found.shape[:2], dtype=points.dtype)
    counts = torch.zeros(len(points), dtype=torch.int64)
    arrays = (places, edges.cpu(), faces.cpu(), visible.cpu(), near, found, shares, counts)
    loops.run(kernels.cross, len(points), *arrays)
    kept = torch.arange(found.shape[1]) < counts[:, None]
    return found[kept].to(points.device), shares[kept].to(points.device)


def antialias(image: Tensor, points: Tensor, crossings: Tensor, shares: Tensor) -> Tensor:
    """Return image (B, H, W, C) with its silhouettes blended, a continuous function of points (B, V, 3).

    crossings: int64 (N, 4) and shares (N,), as from `silhouette_crossings`. Raises ValueError where shapes,
    dtypes or indices do not fit.
    """
    expect(image.dim() == 4, "antialias", "image (B, H, W, C)", image)
    fits = points.dim() == 3 and points.shape[2] == 3 and len(points) == len(image)
    expect(fits, "antialias", f"points ({len(image)}, V, 3)", points)
    expect_alike("antialias", image=image, points=points, shares=shares)
    fits = crossings.dim() == 2 and crossings.shape[1] == 4 and crossings.dtype == torch.int64
    expect(fits, "antialias", "crossings int64 (N, 4)", crossings)
    expect(shares.shape == crossings.shape[:1], "antialias", f"shares ({len(crossings)},)", shares)
    expect_indices("antialias", crossings[:, :2], image.shape[:3].numel())
    expect_indices("antialias", crossings[:, 2:], points.shape[:2].numel())
    y: Tensor = AntialiasFunction.apply(image, points, crossings, shares)
    return y
