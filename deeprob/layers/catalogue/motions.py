"""Motions of rigid bodies, and what a pinhole camera sees of them."""

from typing import Any

import torch
from torch import Tensor

from ..render.project import project
from ..render.rotation_9d import rotation_9d_to_matrix
from ..render.se3 import se3_exp, se3_log
from ..render.so3 import so3_exp, so3_log
from ._entry import Draw, Inputs, Layer, bench, real, tiny


def composed_skew(v: Tensor) -> Tensor:
    """[v]_x written out."""
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(*v.shape[:-1], 3, 3)


def composed_so3_exp(w: Tensor) -> Tensor:
    """Torch's matrix exponential."""
    R: Tensor = torch.linalg.matrix_exp(composed_skew(w))
    return R


def composed_so3_log(R: Tensor) -> Tensor:
    """The quaternion by its largest entry, and its angle, under torch's own differentiation."""
    a, b, c, d, e, f, g, h, i = R.flatten(-2).unbind(-1)
    rows = [
        *(1 + a + e + i, h - f, c - g, d - b),
        *(h - f, 1 + a - e - i, b + d, c + g),
        *(c - g, b + d, 1 - a + e - i, f + h),
        *(d - b, c + g, f + h, 1 - a - e + i),
    ]
    Q = torch.stack(rows, -1).reshape(*R.shape[:-2], 4, 4)
    largest = Q.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None].expand(*R.shape[:-2], 1, 4)
    q = Q.gather(-2, largest).squeeze(-2)
    a, u = q[..., :1], q[..., 1:]
    length = torch.linalg.vector_norm(u, dim=-1, keepdim=True)
    w: Tensor = 2 * torch.atan2(length * a.sign(), a.abs()) / length * u
    return w


def composed_se3_exp(xi: Tensor) -> Tensor:
    """Torch's matrix exponential of the twist as a matrix."""
    top = torch.cat([composed_skew(xi[..., 3:]), xi[..., :3, None]], -1)
    T: Tensor = torch.linalg.matrix_exp(torch.cat([top, torch.zeros_like(top[..., :1, :])], -2))
    return T


def composed_se3_log(T: Tensor) -> Tensor:
    """The rotation's vector, and a solved linear system with the left Jacobian."""
    w = composed_so3_log(T[..., :3, :3])
    angle = torch.linalg.vector_norm(w, dim=-1)[..., None, None]
    W = composed_skew(w)
    V = torch.eye(3).to(T) + (1 - angle.cos()) / angle**2 * W + (angle - angle.sin()) / angle**3 * W @ W
    return torch.cat([torch.linalg.solve(V, T[..., :3, 3]), w], -1)


def composed_rotation_9d(M: Tensor) -> Tensor:
    """Torch's singular value decomposition, and its gradient."""
    U, _, Vt = torch.linalg.svd(M.reshape(*M.shape[:-1], 3, 3) if M.shape[-1] == 9 else M)
    flip = torch.ones_like(U[..., 0])
    flip = torch.cat([flip[..., :2], torch.linalg.det(U @ Vt).sign()[..., None].detach()], -1)
    R: Tensor = (U * flip[..., None, :]) @ Vt
    return R


def composed_project(X: Tensor, T: Tensor, K: Tensor) -> Tensor:
    """Homogeneous coordinates, written out."""
    ones = torch.ones_like(X[:, :1])
    h = (K @ T[:, :3]) @ torch.cat([X, ones], 1).mT
    return torch.cat([h[:, :2] / h[:, 2:], h[:, 2:]], 1).mT


def widened(reference: Any) -> Any:
    """The reference in float32 at least: torch's decompositions take no bfloat16."""

    def call(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            found: Tensor = reference(x.float() if x.dtype == torch.bfloat16 else x).to(x.dtype)
        return found

    return call


def _rotations(d: Draw, *shape: int) -> Tensor:
    return composed_so3_exp(0.5 * d(*shape, 3).double()).to(d.dtype)


def _motions(d: Draw, *shape: int) -> Tensor:
    """Draw motions turned by less than half a turn, in front of a camera."""
    xi = torch.cat([d(*shape, 3), 0.5 * d(*shape, 3)], -1).double()
    return composed_se3_exp(xi).to(d.dtype)


def _seen(vertices: int, poses: int, *cameras: int) -> Inputs:
    """Draw a mesh's vertices, poses in front of the camera, and camera matrices."""

    def inputs(d: Draw) -> list[Tensor]:
        T = _motions(d, poses)
        T[:, 2, 3] = 4 + 0.2 * T[:, 2, 3]
        K = torch.tensor([[3.0, 0.1, 1.0], [0, 2.5, 1.2], [0, 0, 1]]).to(T).expand(*cameras, 3, 3)
        return [0.5 * d(vertices, 3), T, K.contiguous()]

    return inputs


LAYERS = [
    Layer(
        "so3_exp",
        so3_exp,
        widened(composed_so3_exp),
        samples=[
            tiny("turns", lambda d: [d(5, 3)]),
            tiny("small ones", lambda d: [1e-3 * d(3, 3)]),
            tiny("none", lambda d: [0 * d(2, 3)]),
            tiny("large ones", lambda d: [3 * d(2, 3, 3)]),
            real("a batch", lambda d: [d(64, 3)]),
            bench("4096", lambda d: [d(4096, 3)]),
        ],
        rejects=[(lambda d: [d(3, 4)], {}), (lambda d: [d.classes(3, 2, 3)], {})],
        autocast=False,  # ours stays in float32
    ),
    Layer(
        "so3_log",
        so3_log,
        widened(composed_so3_log),
        samples=[
            tiny("rotations", lambda d: [_rotations(d, 4)]),
            tiny("two batch axes", lambda d: [_rotations(d, 2, 2)]),
            real("a batch", lambda d: [_rotations(d, 64)]),
            bench("4096", lambda d: [_rotations(d, 4096)]),
        ],
        rejects=[(lambda d: [d(3, 4)], {}), (lambda d: [d.classes(3, 2, 3, 3)], {})],
        autocast=False,
    ),
    Layer(
        "se3_exp",
        se3_exp,
        widened(composed_se3_exp),
        samples=[
            tiny("twists", lambda d: [d(4, 6)]),
            tiny("small ones", lambda d: [1e-3 * d(3, 6)]),
            tiny("none", lambda d: [0 * d(2, 6)]),
            tiny("two batch axes", lambda d: [2 * d(2, 2, 6)]),
            real("a batch", lambda d: [d(64, 6)]),
            bench("4096", lambda d: [d(4096, 6)]),
        ],
        rejects=[(lambda d: [d(3, 3)], {}), (lambda d: [d.classes(3, 2, 6)], {})],
        autocast=False,
    ),
    Layer(
        "se3_log",
        se3_log,
        widened(composed_se3_log),
        samples=[
            tiny("motions", lambda d: [_motions(d, 3)]),
            real("a batch", lambda d: [_motions(d, 64)]),
            bench("4096", lambda d: [_motions(d, 4096)]),
        ],
        rejects=[(lambda d: [d(3, 3)], {}), (lambda d: [d.classes(3, 2, 4, 4)], {})],
        autocast=False,
    ),
    Layer(
        "rotation_9d_to_matrix",
        rotation_9d_to_matrix,
        widened(composed_rotation_9d),
        samples=[
            tiny("matrices", lambda d: [d(4, 3, 3)]),
            tiny("rows of nine", lambda d: [d(3, 9)]),
            tiny("two batch axes", lambda d: [d(2, 2, 3, 3)]),
            real("a batch", lambda d: [d(64, 9)]),
            bench("4096", lambda d: [d(4096, 9)]),
        ],
        rejects=[(lambda d: [d(3, 8)], {}), (lambda d: [d.classes(3, 2, 9)], {})],
        autocast=False,
    ),
    Layer(
        "project",
        project,
        composed_project,
        samples=[
            tiny("one camera", _seen(5, 2)),
            tiny("a camera a pose", _seen(4, 2, 2)),
            real("a mesh", _seen(200, 4)),
            bench("5,000 vertices, 8 poses", _seen(5000, 8)),
        ],
        rejects=[
            (lambda d: [d(5, 2), d(2, 4, 4), d(3, 3)], {}),
            (lambda d: [d(5, 3), d(2, 3, 4), d(3, 3)], {}),
            (lambda d: [d(5, 3), d(2, 4, 4), d(3, 3, 3)], {}),
            (lambda d: [d(5, 3), d(2, 4, 4).float(), d(3, 3)], {}),
        ],
        batched=(1,),
        autocast=False,
    ),
]
