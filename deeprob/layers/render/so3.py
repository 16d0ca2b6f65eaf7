"""Rotations and the vectors that turn them: the exponential map of SO(3), and its inverse.

    exp    w (..., 3), an axis times an angle in radians, x = |w|^2
        R = I + c_1 [w]_x + c_2 [w]_x^2                   Rodrigues; c_n(x) in _vectors.py
        dR = [J dw]_x R,   J = I + c_2 [w]_x + c_3 [w]_x^2       J: the left Jacobian
        s = axial(G R^T),  G the gradient of R            <G, [a]_x R> = a . s
        dw = J^T s = s - c_2 w x s + c_3 w x (w x s)

    log    R (..., 3, 3)
        Q = I + sum_ab R_ab T_ab = 4 q q^T         T: the quadratic forms of rotation.py, q the quaternion
        (a, u) = the row of Q with the largest diagonal, its sign such that a >= 0
        w = f u,   f = 2 atan(|u| / a) / |u|              of any multiple of q the same
        with g the gradient of w:  du = f g + 2 (df/d|u|^2) (u . g) u,   da = -2 (u . g) / (|u|^2 + a^2)
        dR_ab = <dQ, T_ab>,  dQ zero but for that row

Off the rotations dR is that of this formula; along them every formula of log has the same. At angle 0 both
are smooth, and their series in x or (|u| / a)^2 are used near it. log is smooth below an angle of pi, and
jumps there: two vectors are the same rotation. Cost: some 200 FLOPs a rotation; saves the input, exp also R.
Source: Sola et al. 2018, A micro Lie theory for state estimation in robotics, equations 132 to 145;
Horn 1987, Closed-form solution of absolute orientation using unit quaternions.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect, expect_alike, narrowed, widened
from ..rotation import FORMS
from ._vectors import axial, bent, dot, skew, stumpff

SERIES_UNTIL = 0.01  # of (|u| / a)^2
TERMS = 9


class SO3ExpFunction(Function):
    """R = exp [w]_x."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(w: Tensor) -> Tensor:
        w_wide = widened(w)
        return narrowed(exp(w_wide, stumpff(dot(w_wide, w_wide), 3)), w)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, dR: Tensor) -> Any:
        w, R = ctx.saved_tensors
        w_wide = widened(w)
        c = stumpff(dot(w_wide, w_wide), 4)
        return narrowed(exp_backward(w_wide, widened(R), widened(dR), c), w)

    @staticmethod
    def tangent(ctx: Any, w_dot: Tensor) -> Any:
        w, R = ctx.saved_tensors
        return exp_dot(w, R, w_dot, stumpff(dot(w, w), 4))


def exp(w: Tensor, c: list[Tensor]) -> Tensor:
    """Return R (..., 3, 3), of c_0, c_1, c_2, ..."""
    c0, c1, c2 = (function[..., None] for function in c[:3])
    eye = torch.eye(3, dtype=w.dtype, device=w.device)
    return c0 * eye + c1 * skew(w) + c2 * w[..., :, None] * w[..., None, :]


def exp_backward(w: Tensor, R: Tensor, dR: Tensor, c: list[Tensor]) -> Tensor:
    """Return dw (..., 3)."""
    return bent(w, axial(dR @ R.mT), -c[2], c[3])


def exp_dot(w: Tensor, R: Tensor, w_dot: Tensor, c: list[Tensor]) -> Tensor:
    """Return R_dot (..., 3, 3)."""
    return skew(bent(w, w_dot, c[2], c[3])) @ R


class SO3LogFunction(Function):
    """w with exp [w]_x = R, |w| <= pi."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(R: Tensor) -> Tensor:
        return narrowed(log(widened(R)), R)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dw: Tensor) -> Any:
        (R,) = ctx.saved_tensors
        return narrowed(log_backward(widened(R), widened(dw)), R)

    @staticmethod
    def tangent(ctx: Any, R_dot: Tensor) -> Any:
        (R,) = ctx.saved_tensors
        return log_dot(R, R_dot)


def log(R: Tensor) -> Tensor:
    """Return w (..., 3)."""
    a, u, _ = quaternion(R)
    return angle_ratio(a, u)[0] * u


def log_backward(R: Tensor, dw: Tensor) -> Tensor:
    """Return dR (..., 3, 3)."""
    a, u, row = quaternion(R)
    f, slope = angle_ratio(a, u)
    along = dot(u, dw)
    drow = torch.cat([-2 * along / (dot(u, u) + a * a), f * dw + 2 * slope * along * u], -1)
    dQ = row[..., :, None] * drow[..., None, :]
    return (dQ.flatten(-2) @ FORMS.to(R).T).reshape(R.shape)


def log_dot(R: Tensor, R_dot: Tensor) -> Tensor:
    """Return w_dot (..., 3)."""
    a, u, row = quaternion(R)
    f, slope = angle_ratio(a, u)
    Q_dot = (R_dot.flatten(-2) @ FORMS.to(R)).reshape(*R.shape[:-2], 4, 4)
    row_dot = (row[..., None, :] @ Q_dot).squeeze(-2)
    a_dot, u_dot = row_dot[..., :1], row_dot[..., 1:]
    f_dot = 2 * slope * dot(u, u_dot) - 2 * a_dot / (dot(u, u) + a * a)
    return f * u_dot + f_dot * u


def quaternion(R: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a (..., 1), u (..., 3), and row (..., 4): row^T Q = (a, u), 1 or -1 in one place."""
    eye = torch.eye(4, dtype=R.dtype, device=R.device)
    Q = (R.flatten(-2) @ FORMS.to(R)).reshape(*R.shape[:-2], 4, 4) + eye
    with torch.no_grad():
        largest = Q.diagonal(dim1=-2, dim2=-1).argmax(-1, keepdim=True)
        row = (torch.arange(4, device=R.device) == largest).to(R.dtype)
        row = torch.where((row * Q[..., 0]).sum(-1, keepdim=True) < 0, -row, row)
    q = (row[..., None, :] @ Q).squeeze(-2)
    return q[..., :1], q[..., 1:], row


def angle_ratio(a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Return f = 2 atan(|u| / a) / |u| and its slope in |u|^2 (..., 1)."""
    square = dot(u, u)
    small = square < SERIES_UNTIL * a * a
    above, below = torch.where(small, 1, square), torch.where(small, a, 1)
    x = torch.where(small, square / (below * below), 0)
    f, slope = torch.zeros_like(a), torch.zeros_like(a)
    for k in range(TERMS - 1, -1, -1):
        sign = (-1) ** k
        f = sign / (2 * k + 1) + x * f
        slope = sign * k / (2 * k + 1) + x * slope if k else slope
    length = above.sqrt()
    closed = 2 * torch.atan2(length, torch.where(small, 1, a)) / length
    closed_slope = (2 * a / (above + a * a) - closed) / (2 * above)
    return (
        torch.where(small, 2 * f / below, closed),
        torch.where(small, 2 * slope / below**3, closed_slope),
    )


def so3_exp(w: Tensor) -> Tensor:
    """Return rotations (..., 3, 3) of w (..., 3), axes times angles in radians, of any length.

    Raises ValueError where the shape or the dtype does not fit.
    """
    expect(w.dim() >= 1 and w.shape[-1] == 3, "so3_exp", "w (..., 3)", w)
    expect_alike("so3_exp", w=w)
    R: Tensor = SO3ExpFunction.apply(w)
    return R


def so3_log(R: Tensor) -> Tensor:
    """Return w (..., 3) of at most pi, with so3_exp(w) = R (..., 3, 3): a rotation, which is not checked.

    Raises ValueError where the shape or the dtype does not fit.
    """
    expect(R.dim() >= 2 and R.shape[-2:] == (3, 3), "so3_log", "R (..., 3, 3)", R)
    expect_alike("so3_log", R=R)
    w: Tensor = SO3LogFunction.apply(R)
    return w
