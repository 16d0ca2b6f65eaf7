"""Vertices and poses to pixels and depth.

    X (V, 3) of a mesh     T (B, 4, 4) = [R t; 0 1] from the mesh to the camera     K (3, 3) or (B, 3, 3)

    p = R X + t,   h = K p,   y = (u, v, z) = (h_0 / h_2, h_1 / h_2, h_2)   (B, V, 3); K's last row: (0, 0, 1)

    dh = (du / z,  dv / z,  dz - (u du + v dv) / z)
    dK = sum of dh p^T,   dp = K^T dh
    dt = sum over V of dp,   dR = sum over V of dp X^T,   dX = sum over B of R^T dp

u, v in pixels, an integer is a pixel's centre; z in the unit of X. Not defined where z = 0.
Cost: 33 FLOPs a vertex and pose forward, three times that back; saves the inputs.
Source: Hartley and Zisserman, Multiple view geometry, section 6.1.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect, expect_alike
from .se3 import joined, parts


class ProjectFunction(Function):
    """y = (u, v, z)."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(X: Tensor, T: Tensor, K: Tensor) -> Tensor:
        return divided(in_camera(X, T) @ K.mT)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        X, T, K = ctx.saved_tensors
        R, _ = parts(T)
        p = in_camera(X, T)
        u, v, z = divided(p @ K.mT).unbind(-1)
        du, dv, dz = dy.unbind(-1)
        du, dv = du / z, dv / z
        dh = torch.stack([du, dv, dz - u * du - v * dv], -1)
        dp = dh @ K
        need_X, need_T, need_K = ctx.needs_input_grad
        dX = (dp @ R).sum(0) if need_X else None
        dT = joined(dp.mT @ X, dp.sum(1), 0) if need_T else None
        dK = dh.mT @ p if need_K else None
        return dX, dT, dK.sum(0) if dK is not None and K.dim() == 2 else dK

    @staticmethod
    def tangent(ctx: Any, X_dot: Tensor, T_dot: Tensor, K_dot: Tensor) -> Any:
        X, T, K = ctx.saved_tensors
        p = in_camera(X, T)
        h = p @ K.mT
        p_dot = X_dot @ parts(T)[0].mT + in_camera(X, T_dot)
        h_dot = p_dot @ K.mT + p @ K_dot.mT
        z, z_dot = h[..., 2:], h_dot[..., 2:]
        uv_dot = (h_dot[..., :2] - h[..., :2] / z * z_dot) / z
        return torch.cat([uv_dot, z_dot], -1)


def in_camera(X: Tensor, T: Tensor) -> Tensor:
    """Return p (B, V, 3)."""
    R, t = parts(T)
    return X @ R.mT + t[:, None]


def divided(h: Tensor) -> Tensor:
    """Return (u, v, z) of h (..., 3)."""
    z = h[..., 2:]
    return torch.cat([h[..., :2] / z, z], -1)


def project(X: Tensor, T: Tensor, K: Tensor) -> Tensor:
    """Return pixels and depth (B, V, 3) of vertices X (V, 3) under T (B, 4, 4) and K (3, 3) or (B, 3, 3).

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    expect(X.dim() == 2 and X.shape[1] == 3, "project", "X (V, 3)", X)
    expect(T.dim() == 3 and T.shape[1:] == (4, 4), "project", "T (B, 4, 4)", T)
    fits = K.shape == (3, 3) or K.shape == (len(T), 3, 3)
    expect(fits, "project", f"K (3, 3) or ({len(T)}, 3, 3)", K)
    expect_alike("project", X=X, T=T, K=K)
    y: Tensor = ProjectFunction.apply(X, T, K)
    return y
