"""Rigid motions and the twists that make them: the exponential map of SE(3), and its inverse.

    exp    xi (..., 6) = (v, w), v in the unit of length, w in radians
        T = [R  t; 0  1],   R = exp [w]_x,   t = V v,   V = I + c_2 [w]_x + c_3 [w]_x^2
        with G and g the gradients of R and t:
        dv = V^T g
        dw = (that of so3.py's exp with G) + the gradient of g . (V v) in w, c_n' = (n c_n+2 - c_n+1) / 2:
             c_2 v x g + c_3 ((w x v) x g + v x (g x w)) + 2 w (c_2' g . (w x v) + c_3' g . (w x (w x v)))

    log    T (..., 4, 4) = [R  t; 0  1]
        w = log R,   v = V^-1 t,   V^-1 = I - [w]_x / 2 + d [w]_x^2,   d = (c_3 - 2 c_4) / (2 c_2)
        dt = V^-T dv;  dw as above with -1/2 and d for c_2 and c_3; dR from dw as in so3.py

c_n(x), x = |w|^2, as in _vectors.py: nothing divides by the angle. exp is smooth everywhere, log below an
angle of pi. The row (0, 0, 0, 1) has no gradient. Cost: some 300 FLOPs a motion; saves the input, exp also T.
Source: Sola et al. 2018, A micro Lie theory for state estimation in robotics, equations 171 to 174.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect, expect_alike, narrowed, widened
from ._vectors import bent, bent_dot, bent_slope, dot, slope, stumpff
from .so3 import exp, exp_backward, exp_dot, log, log_backward, log_dot


class SE3ExpFunction(Function):
    """T = exp xi."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(xi: Tensor) -> Tensor:
        v, w = halves(widened(xi))
        c = stumpff(dot(w, w), 4)
        return narrowed(joined(exp(w, c), bent(w, v, c[2], c[3]), 1), xi)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, dT: Tensor) -> Any:
        xi, T = ctx.saved_tensors
        v, w = halves(widened(xi))
        G, g = parts(widened(dT))
        c = stumpff(dot(w, w), 6)
        dw = exp_backward(w, parts(widened(T))[0], G, c)
        dw = dw + bent_slope(w, v, g, c[2], c[3], slope(c, 2), slope(c, 3))
        return narrowed(torch.cat([bent(w, g, -c[2], c[3]), dw], -1), xi)

    @staticmethod
    def tangent(ctx: Any, xi_dot: Tensor) -> Any:
        xi, T = ctx.saved_tensors
        (v, w), (v_dot, w_dot) = halves(xi), halves(xi_dot)
        c = stumpff(dot(w, w), 6)
        t_dot = bent_dot(w, v, w_dot, v_dot, c[2], c[3], slope(c, 2), slope(c, 3))
        return joined(exp_dot(w, parts(T)[0], w_dot, c), t_dot, 0)


class SE3LogFunction(Function):
    """xi with exp xi = T."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(T: Tensor) -> Tensor:
        R, t = parts(widened(T))
        w = log(R)
        d, _ = inverse_coefficient(w)
        return narrowed(torch.cat([bent(w, t, -0.5, d), w], -1), T)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dxi: Tensor) -> Any:
        (T,) = ctx.saved_tensors
        R, t = parts(widened(T))
        g, dw = halves(widened(dxi))
        w = log(R)
        d, d_slope = inverse_coefficient(w)
        dw = dw + bent_slope(w, t, g, -0.5, d, 0.0, d_slope)
        return narrowed(joined(log_backward(R, dw), bent(w, g, 0.5, d), 0), T)

    @staticmethod
    def tangent(ctx: Any, T_dot: Tensor) -> Any:
        (T,) = ctx.saved_tensors
        (R, t), (R_dot, t_dot) = parts(T), parts(T_dot)
        w, w_dot = log(R), log_dot(R, R_dot)
        d, d_slope = inverse_coefficient(w)
        return torch.cat([bent_dot(w, t, w_dot, t_dot, -0.5, d, 0.0, d_slope), w_dot], -1)


def inverse_coefficient(w: Tensor) -> tuple[Tensor, Tensor]:
    """Return d (..., 1) of V^-1, and its slope in |w|^2."""
    c = stumpff(dot(w, w), 7)
    d = (c[3] - 2 * c[4]) / (2 * c[2])
    return d, (slope(c, 3) - 2 * slope(c, 4) - 2 * d * slope(c, 2)) / (2 * c[2])


def halves(xi: Tensor) -> tuple[Tensor, Tensor]:
    """Return v and w (..., 3)."""
    return xi[..., :3], xi[..., 3:]


def parts(T: Tensor) -> tuple[Tensor, Tensor]:
    """Return R (..., 3, 3) and t (..., 3)."""
    return T[..., :3, :3], T[..., :3, 3]


def joined(R: Tensor, t: Tensor, corner: float) -> Tensor:
    """Return [R t; 0 corner] (..., 4, 4)."""
    last = torch.zeros_like(R[..., :1, :])
    row = torch.cat([last, torch.full_like(t[..., None, :1], corner)], -1)
    return torch.cat([torch.cat([R, t[..., :, None]], -1), row], -2)


def se3_exp(xi: Tensor) -> Tensor:
    """Return motions (..., 4, 4) of twists xi (..., 6) = (v, w): along v, about w by its length in radians.

    Raises ValueError where the shape or the dtype does not fit.
    """
    expect(xi.dim() >= 1 and xi.shape[-1] == 6, "se3_exp", "xi (..., 6)", xi)
    expect_alike("se3_exp", xi=xi)
    T: Tensor = SE3ExpFunction.apply(xi)
    return T


def se3_log(T: Tensor) -> Tensor:
    """Return xi (..., 6) with se3_exp(xi) = T (..., 4, 4): a rigid motion, which is not checked.

    Raises ValueError where the shape or the dtype does not fit.
    """
    expect(T.dim() >= 2 and T.shape[-2:] == (4, 4), "se3_log", "T (..., 4, 4)", T)
    expect_alike("se3_log", T=T)
    xi: Tensor = SE3LogFunction.apply(T)
    return xi
