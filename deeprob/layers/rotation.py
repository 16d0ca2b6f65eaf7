"""Rotation matrices from what a network can put out freely: four numbers, or six.

    quaternion   q (..., 4) = (w, x, y, z), any length        u = q / |q|
        R[a, b] = u^T T[a, b] u        every entry of R is a quadratic form in u, T[a, b] symmetric
        du = 2 (sum_ab dR[a, b] T[a, b]) u
        dq = (du - u <u, du>) / |q|    a unit vector moves only across itself
        In a compiled graph the same entry by entry, with v = (x, y, z) and s = dR's part that is a [.]_x:
            R = (w^2 - v.v) I + 2 v v^T + 2 w [v]_x
            du = 2 (w tr dR + v.s,  (dR + dR^T) v - v tr dR + w s)

    6-D          a1, a2 (..., 3) side by side, the first two columns of R before they are made orthonormal
        b1 = a1 / |a1|,  c = a2 - <b1, a2> b1,  b2 = c / |c|,  b3 = b1 x b2,  R = [b1 b2 b3]
        from the last to the first, g_i = column i of dR:
        g1 += b2 x g3,  g2 += g3 x b1
        dc = (g2 - b2 <b2, g2>) / |c|
        da2 = dc - b1 <b1, dc>,  g1 -= <b1, a2> dc + <b1, dc> a2
        da1 = (g1 - b1 <b1, g1>) / |a1|

Both are smooth wherever the lengths are not zero; a zero length counts as 1e-12. Four numbers cover the
rotations twice (q and -q), so no continuous map goes back; six do not have that fault.
Cost: some 300 FLOPs a rotation; saves the input.
Source: Horn 1987 (quaternions); Zhou et al. 2019, On the continuity of rotation representations, equation 15.
"""

from typing import Any

import torch
from torch import Tensor

from ._function import Function, expect, expect_alike


def quadratic_forms() -> Tensor:
    """T (3, 3, 4, 4), read off R = (w^2 - v.v) I + 2 v v^T + 2 w [v]_x with v = (x, y, z)."""
    T = torch.zeros(3, 3, 4, 4, dtype=torch.float64)
    for a in range(3):
        T[a, a] = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0]))
    for a in range(3):
        for b in range(3):
            T[a, b, 1 + a, 1 + b] += 1
            T[a, b, 1 + b, 1 + a] += 1
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):  # [v]_x holds -v_c at (a, b) and v_c at (b, a)
        T[a, b, 0, 1 + c] = T[a, b, 1 + c, 0] = -1
        T[b, a, 0, 1 + c] = T[b, a, 1 + c, 0] = 1
    return T


FORMS = quadratic_forms().reshape(9, 16)


class QuaternionToMatrixFunction(Function):
    """R = T : (u u^T)."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(q: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return by_entries(q)
        u, _ = unit(q)
        return (outer(u, u) @ FORMS.to(q).T).reshape(*q.shape[:-1], 3, 3)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dR: Tensor) -> Any:
        (q,) = ctx.saved_tensors
        if torch.compiler.is_compiling():
            return by_entries_backward(dR, q)
        u, length = unit(q)
        form = (dR.reshape(*q.shape[:-1], 9) @ FORMS.to(q)).reshape(*q.shape[:-1], 4, 4)
        du = 2 * (form @ u[..., None]).squeeze(-1)
        return across(u, du) / length

    @staticmethod
    def tangent(ctx: Any, q_dot: Tensor) -> Any:
        (q,) = ctx.saved_tensors
        u, length = unit(q)
        u_dot = across(u, q_dot) / length
        return (2 * outer(u, u_dot) @ FORMS.to(q).T).reshape(*q.shape[:-1], 3, 3)


def by_entries(q: Tensor) -> Tensor:
    """Return R (..., 3, 3)."""
    (w, x, y, z), _ = unit_entries(q)
    entries = [
        *(w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z),
    ]
    return torch.stack(entries, -1).reshape(*q.shape[:-1], 3, 3)


def by_entries_backward(dR: Tensor, q: Tensor) -> Tensor:
    """Return dq (..., 4)."""
    u, length = unit_entries(q)
    w, x, y, z = u
    a, b, c, d, e, f, g, h, i = dR.flatten(-2).unbind(-1)
    trace = a + e + i
    du = [  # half of it
        w * trace + x * (h - f) + y * (c - g) + z * (d - b),
        x * (2 * a - trace) + y * (b + d) + z * (c + g) + w * (h - f),
        x * (b + d) + y * (2 * e - trace) + z * (f + h) + w * (c - g),
        x * (c + g) + y * (f + h) + z * (2 * i - trace) + w * (d - b),
    ]
    along = sum(p * dp for p, dp in zip(u, du, strict=True))
    return torch.stack([2 * (dp - along * p) / length for p, dp in zip(u, du, strict=True)], -1)


def unit_entries(q: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return w, x, y, z of q / |q|, and |q|, no smaller than 1e-12."""
    entries = q.unbind(-1)
    w, x, y, z = entries
    length = (w * w + x * x + y * y + z * z).sqrt().clamp_min(1e-12)
    return [p / length for p in entries], length


class Rotation6DToMatrixFunction(Function):
    """R = Gram-Schmidt of (a1, a2), and their cross product."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(d6: Tensor) -> Tensor:
        b1, b2, b3, *_ = gram_schmidt(d6)
        return torch.stack([b1, b2, b3], -1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dR: Tensor) -> Any:
        (d6,) = ctx.saved_tensors
        b1, b2, _, a1_length, c_length = gram_schmidt(d6)
        a2 = d6[..., 3:]
        g1, g2, g3 = dR.unbind(-1)
        g1, g2 = g1 + torch.linalg.cross(b2, g3), g2 + torch.linalg.cross(g3, b1)
        dc = across(b2, g2) / c_length
        da2 = across(b1, dc)
        g1 = g1 - dot(b1, a2) * dc - dot(b1, dc) * a2
        da1 = across(b1, g1) / a1_length
        return torch.cat([da1, da2], -1)

    @staticmethod
    def tangent(ctx: Any, d6_dot: Tensor) -> Any:
        (d6,) = ctx.saved_tensors
        b1, b2, _, a1_length, c_length = gram_schmidt(d6)
        a2, a1_dot, a2_dot = d6[..., 3:], d6_dot[..., :3], d6_dot[..., 3:]
        b1_dot = across(b1, a1_dot) / a1_length
        c_dot = across(b1, a2_dot) - dot(b1_dot, a2) * b1 - dot(b1, a2) * b1_dot
        b2_dot = across(b2, c_dot) / c_length
        b3_dot = torch.linalg.cross(b1_dot, b2) + torch.linalg.cross(b1, b2_dot)
        return torch.stack([b1_dot, b2_dot, b3_dot], -1)


def gram_schmidt(d6: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return b1, b2, b3 (..., 3), |a1| and |c| (..., 1)."""
    b1, a1_length = unit(d6[..., :3])
    b2, c_length = unit(across(b1, d6[..., 3:]))
    return b1, b2, torch.linalg.cross(b1, b2), a1_length, c_length


def unit(v: Tensor) -> tuple[Tensor, Tensor]:
    """Return v / |v| and |v| (..., 1), no smaller than 1e-12."""
    length = torch.linalg.vector_norm(v, dim=-1, keepdim=True).clamp_min(1e-12)
    return v / length, length


def across(u: Tensor, v: Tensor) -> Tensor:
    """Return v less its part along the unit vector u."""
    return v - dot(u, v) * u


def dot(u: Tensor, v: Tensor) -> Tensor:
    """Return <u, v> (..., 1)."""
    return (u * v).sum(-1, keepdim=True)


def outer(u: Tensor, v: Tensor) -> Tensor:
    """Return u v^T (..., 16) of vectors (..., 4)."""
    return (u[..., :, None] * v[..., None, :]).flatten(-2)


def quaternion_to_matrix(q: Tensor) -> Tensor:
    """Return rotations (..., 3, 3) of quaternions q (..., 4), (w, x, y, z), of any length but zero.

    Raises ValueError where the shape or the dtype does not fit.
    """
    expect(q.dim() >= 1 and q.shape[-1] == 4, "quaternion_to_matrix", "q (..., 4)", q)
    expect_alike("quaternion_to_matrix", q=q)
    R: Tensor = QuaternionToMatrixFunction.apply(q)
    return R


def rotation_6d_to_matrix(d6: Tensor) -> Tensor:
    """Return rotations (..., 3, 3) of d6 (..., 6): two vectors, not parallel, for the first two columns.

    Raises ValueError where the shape or the dtype does not fit.
    """
    expect(d6.dim() >= 1 and d6.shape[-1] == 6, "rotation_6d_to_matrix", "d6 (..., 6)", d6)
    expect_alike("rotation_6d_to_matrix", d6=d6)
    R: Tensor = Rotation6DToMatrixFunction.apply(d6)
    return R
