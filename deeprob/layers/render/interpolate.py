"""What a mesh's vertices say, at the pixels that show its faces.

    a (B, V, C) attributes: depth, colour, normal, texture coordinates     b (B, H, W, 3) barycentrics

    y[p] = sum_i b_i[p] a[f_i(p)]           f_i(p): corner i of the face that pixel p shows; 0 if none
    db_i[p] = dy[p] . a[f_i(p)]
    da[n] = sum over the p and i with f_i(p) = n of b_i[p] dy[p]          scattered to the corners

Attributes at corners, which a seam needs, are those of 3 F vertices with faces (0, 1, 2), (3, 4, 5), ...
Cost: 6 C FLOPs a pixel forward, 12 C back; saves a and b. Fast path: kernels/render.py.
Source: Laine et al. 2020, Modular primitives for high-performance differentiable rendering, section 3.4.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect, expect_alike, is_plain
from ..kernels import loops
from ..kernels import render as kernels
from .rasterize import expect_faces, expect_visible, scattered, taken


class InterpolateAttributesFunction(Function):
    """y = sum_i b_i a_i."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(a: Tensor, b: Tensor, faces: Tensor, visible: Tensor) -> Tensor:
        if is_plain(a, b):
            y = a.new_empty(*visible.shape, a.shape[2])
            arrays = (a.contiguous(), b.contiguous(), faces, visible, y)
            loops.run(kernels.interpolated, len(a), *arrays)
            return y
        return weighted(a, b * (visible >= 0)[..., None], faces, visible)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a, b, faces, visible = ctx.saved_tensors
        if is_plain(dy, a, b):
            da = torch.zeros_like(a, memory_format=torch.contiguous_format)
            db = torch.empty_like(b, memory_format=torch.contiguous_format)
            arrays = (a.contiguous(), b.contiguous(), faces, visible, dy.contiguous(), da, db)
            loops.run(kernels.interpolated_adjoint, len(a), *arrays)
            return da, db, None, None
        dy = dy * (visible >= 0)[..., None]
        db = (taken(a, faces, visible) @ dy[..., None]).squeeze(-1)
        da = scattered(b[..., None] * dy[..., None, :], faces, visible, a.shape[1])
        return da, db, None, None

    @staticmethod
    def tangent(ctx: Any, a_dot: Tensor, b_dot: Tensor, *_: None) -> Any:
        a, b, faces, visible = ctx.saved_tensors
        shown = (visible >= 0)[..., None]
        return weighted(a_dot, b * shown, faces, visible) + weighted(a, b_dot * shown, faces, visible)


def weighted(a: Tensor, b: Tensor, faces: Tensor, visible: Tensor) -> Tensor:
    """Return sum_i b_i a_i (B, H, W, C)."""
    return (b[..., None, :] @ taken(a, faces, visible)).squeeze(-2)


def interpolate_attributes(a: Tensor, b: Tensor, faces: Tensor, visible: Tensor) -> Tensor:
    """Return attributes a (B, V, C), or (V, C) of all poses, at pixels: (B, H, W, C), 0 where none is shown.

    b: (B, H, W, 3) and visible: int64 (B, H, W), as from `rasterize`. faces: int64 (F, 3), of a's vertices.
    Raises ValueError where shapes, dtypes or indices do not fit.
    """
    layer = "interpolate_attributes"
    expect(b.dim() == 4 and b.shape[3] == 3, layer, "b (B, H, W, 3)", b)
    fits = a.dim() == 2 or (a.dim() == 3 and len(a) == len(b))
    expect(fits, layer, f"a ({len(b)}, V, C) or (V, C)", a)
    expect_alike(layer, a=a, b=b)
    expect_faces(layer, faces, a.shape[-2])
    expect_visible(layer, visible, len(b), faces)
    expect(visible.shape == b.shape[:3], layer, f"visible {tuple(b.shape[:3])}", visible)
    shared = a if a.dim() == 3 else a.expand(len(b), *a.shape)
    y: Tensor = InterpolateAttributesFunction.apply(shared, b, faces, visible)
    return y
