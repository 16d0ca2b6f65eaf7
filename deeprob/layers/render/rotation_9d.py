"""The rotation nearest to a matrix: what a network puts out freely as nine numbers.

    M (..., 3, 3) = U S V^T         R = U diag(1, 1, det(U V^T)) V^T      least |R - M| over rotations

    P = R^T M                       symmetric; tr(P) I - P has the eigenvalues s_i + s_j, the last s signed
    dR = R [a]_x,                   (tr(P) I - P) a = axial(R^T dM)       from differentiating M = R P
    with G the gradient of R:       (tr(P) I - P) b = axial(R^T G),       dM = R [b]_x

The backward needs R and M and no decomposition, so it also holds where singular values are equal. It is not
differentiable where s_2 + det(U V^T) s_3 = 0: there the nearest rotation jumps.
Cost: one decomposition of 3 x 3, and 100 FLOPs back; saves M and R.
Source: Levinson et al. 2020, An analysis of SVD for deep rotation estimation, equations 3 and 8.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect, expect_alike, narrowed, widened
from ._vectors import axial, cross, skew


class Rotation9DToMatrixFunction(Function):
    """R = the rotation nearest to M."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(M: Tensor) -> Tensor:
        U, _, Vt = torch.linalg.svd(widened(M))
        mirrored = torch.linalg.det(U @ Vt)[..., None] < 0
        last = torch.where(mirrored, -U[..., 2], U[..., 2])
        return narrowed(torch.stack([U[..., 0], U[..., 1], last], -1) @ Vt, M)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, dR: Tensor) -> Any:
        M, R = (widened(x) for x in ctx.saved_tensors)
        b = solved(R.mT @ M, axial(R.mT @ widened(dR)))
        return narrowed(R @ skew(b), dR)

    @staticmethod
    def tangent(ctx: Any, M_dot: Tensor) -> Any:
        M, R = ctx.saved_tensors
        return R @ skew(solved(R.mT @ M, axial(R.mT @ M_dot)))


def solved(P: Tensor, s: Tensor) -> Tensor:
    """Return a (..., 3) with (tr(P) I - P) a = s, by the cross products of the columns (Cramer)."""
    eye = torch.eye(3, dtype=P.dtype, device=P.device)
    A = P.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None] * eye - P
    x, y, z = A.unbind(-1)
    minors = [cross(y, z), cross(z, x), cross(x, y)]
    determinant = (x * minors[0]).sum(-1)
    return torch.stack([(m * s).sum(-1) / determinant for m in minors], -1)


def rotation_9d_to_matrix(M: Tensor) -> Tensor:
    """Return the rotations (..., 3, 3) nearest to M (..., 3, 3) or (..., 9), row by row.

    Raises ValueError where the shape or the dtype does not fit.
    """
    square = M.dim() >= 2 and M.shape[-2:] == (3, 3)
    flat = M.dim() >= 1 and M.shape[-1] == 9
    expect(square or flat, "rotation_9d_to_matrix", "M (..., 3, 3) or (..., 9)", M)
    expect_alike("rotation_9d_to_matrix", M=M)
    R: Tensor = Rotation9DToMatrixFunction.apply(M if square else M.reshape(*M.shape[:-1], 3, 3))
    return R
