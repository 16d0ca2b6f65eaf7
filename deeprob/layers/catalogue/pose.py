"""Rotations that a network can predict, and the losses of a pose."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses.chamfer import chamfer_distance
from ..losses.pose import add_loss, add_s_loss
from ..rotation import quaternion_to_matrix, rotation_6d_to_matrix
from ..soft_argmax import soft_argmax2d
from ._entry import Draw, Inputs, Layer, bench, kink, real, tiny


def composed_quaternion(q: Tensor) -> Tensor:
    """The nine entries, written out."""
    w, x, y, z = F.normalize(q, dim=-1).unbind(-1)
    entries = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(entries, -1).reshape(*q.shape[:-1], 3, 3)


def composed_6d(d6: Tensor) -> Tensor:
    """Gram-Schmidt under torch's own differentiation."""
    b1 = F.normalize(d6[..., :3], dim=-1)
    b2 = F.normalize(d6[..., 3:] - (b1 * d6[..., 3:]).sum(-1, keepdim=True) * b1, dim=-1)
    return torch.stack([b1, b2, torch.linalg.cross(b1, b2)], -1)


def _moved(R: Tensor, t: Tensor, points: Tensor) -> Tensor:
    return points @ R.mT + t[:, None]


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def composed_add(
    R: Tensor, t: Tensor, R_target: Tensor, t_target: Tensor, points: Tensor, reduction: str = "mean"
) -> Tensor:
    """Move the points both ways and measure."""
    e = _moved(R, t, points) - _moved(R_target, t_target, points)
    return _reduced(torch.linalg.vector_norm(e, dim=-1).mean(-1), reduction)


def composed_add_s(
    R: Tensor, t: Tensor, R_target: Tensor, t_target: Tensor, points: Tensor, reduction: str = "mean"
) -> Tensor:
    """Move the points both ways, and measure every distance."""
    e = _moved(R, t, points)[:, :, None] - _moved(R_target, t_target, points)[:, None]
    return _reduced(torch.linalg.vector_norm(e, dim=-1).amin(-1).mean(-1), reduction)


def _poses(count: int, *points: int) -> Inputs:
    """Draw two poses a sample, near each other, and the model's points."""

    def inputs(d: Draw) -> list[Tensor]:
        q, t = d(count, 4), d(count, 3)
        R, R_target = composed_quaternion(q), composed_quaternion(q + 0.3 * d(count, 4))
        return [R, t, R_target, t + 0.2 * d(count, 3), d(*points)]

    return inputs


def _same_poses(d: Draw) -> list[Tensor]:
    R, t = composed_quaternion(d(3, 4)), d(3, 3)
    return [R, t, R.clone(), t.clone(), d(5, 3)]


def composed_soft_argmax(x: Tensor, beta: float = 1.0) -> Tensor:
    """Softmax over the cells, and the mean of their places by rows and by columns."""
    p = (beta * x).flatten(2).softmax(-1).view_as(x)
    u, v = (torch.arange(n, dtype=x.dtype, device=x.device) for n in (x.shape[3], x.shape[2]))
    return torch.stack([(p.sum(2) * u).sum(-1), (p.sum(3) * v).sum(-1)], -1)


def composed_chamfer(a: Tensor, b: Tensor, reduction: str = "mean") -> Tensor:
    """Every squared distance, and the least both ways."""
    squares = (a[:, :, None] - b[:, None]).square().sum(-1)
    return _reduced(squares.amin(2).mean(1) + squares.amin(1).mean(1), reduction)


POSE_REJECTS = [
    (lambda d: [d(2, 3, 3), d(2, 3), d(2, 3, 3), d(2, 3), d(5, 4)], {}),
    (lambda d: [d(2, 3, 3), d(2, 3), d(2, 3, 3), d(2, 3), d(3, 5, 3)], {}),
    (lambda d: [d(2, 3, 3), d(2, 3), d(2, 3, 3), d(2, 3), d(0, 3)], {}),
    (lambda d: [d(2, 3, 4), d(2, 3), d(2, 3, 3), d(2, 3), d(5, 3)], {}),
    (lambda d: [d(2, 3, 3), d(2, 4), d(2, 3, 3), d(2, 3), d(5, 3)], {}),
    (lambda d: [d(2, 3, 3), d(2, 3), d(2, 3, 3), d(2, 3), d(5, 3).float()], {}),
    (lambda d: [d(2, 3, 3), d(2, 3), d(2, 3, 3), d(2, 3), d(5, 3)], {"reduction": "average"}),
]

LAYERS = [
    Layer(
        "quaternion_to_matrix",
        quaternion_to_matrix,
        composed_quaternion,
        samples=[
            tiny("quaternions", lambda d: [d(5, 4)]),
            tiny("one", lambda d: [d(4)]),
            tiny("two batch axes", lambda d: [d(2, 3, 4)]),
            real("a batch", lambda d: [d(64, 4)]),
            bench("4096", lambda d: [d(4096, 4)]),
        ],
        rejects=[(lambda d: [d(3, 3)], {}), (lambda d: [d.classes(3, 2, 4)], {})],
        autocast=False,  # ours stays in float32
    ),
    Layer(
        "rotation_6d_to_matrix",
        rotation_6d_to_matrix,
        composed_6d,
        samples=[
            tiny("vectors", lambda d: [d(5, 6)]),
            tiny("one", lambda d: [d(1, 6)]),
            tiny("two batch axes", lambda d: [d(2, 3, 6)]),
            real("a batch", lambda d: [d(64, 6)]),
            bench("4096", lambda d: [d(4096, 6)]),
        ],
        rejects=[(lambda d: [d(3, 5)], {}), (lambda d: [d.classes(3, 2, 6)], {})],
        autocast=False,
    ),
    Layer(
        "add_loss",
        add_loss,
        composed_add,
        samples=[
            tiny("one model", _poses(3, 6, 3)),
            tiny("a model a sample, none", _poses(3, 3, 4, 3), reduction="none"),
            tiny("sum", _poses(2, 5, 3), reduction="sum"),
            kink("the same pose", _same_poses),
            real("a batch", _poses(8, 100, 3)),
            bench("64 poses, 500 points", _poses(64, 500, 3)),
        ],
        rejects=POSE_REJECTS,
        constants=(4,),
        batched=(0, 1, 2, 3),
        autocast=False,
    ),
    Layer(
        "add_s_loss",
        add_s_loss,
        composed_add_s,
        samples=[
            tiny("one model", _poses(3, 6, 3)),
            tiny("a model a sample, none", _poses(3, 3, 4, 3), reduction="none"),
            real("a batch", _poses(8, 100, 3)),
            bench("16 poses, 500 points", _poses(16, 500, 3)),
        ],
        rejects=POSE_REJECTS,
        constants=(4,),
        batched=(0, 1, 2, 3),
        autocast=False,
    ),
    Layer(
        "soft_argmax2d",
        soft_argmax2d,
        composed_soft_argmax,
        samples=[
            tiny("maps", lambda d: [d(2, 3, 4, 5)]),
            tiny("sharp", lambda d: [d(2, 1, 3, 5)], beta=3.0),
            tiny("one cell", lambda d: [d(1, 2, 1, 1)]),
            real("keypoints", lambda d: [d(4, 8, 16, 16)], beta=2.0),
            bench("32x16x64x64", lambda d: [d(32, 16, 64, 64)]),
        ],
        rejects=[
            (lambda d: [d(2, 3, 4)], {}),
            (lambda d: [d(2, 3, 0, 4)], {}),
            (lambda d: [d(2, 3, 4, 4)], {"beta": 0.0}),
            (lambda d: [d.classes(3, 2, 3, 4, 4)], {}),
        ],
        autocast=False,
    ),
    Layer(
        "chamfer_distance",
        chamfer_distance,
        composed_chamfer,
        samples=[
            tiny("clouds", lambda d: [d(3, 5, 3), d(3, 4, 3)]),
            tiny("in a plane, none", lambda d: [d(2, 4, 2), d(2, 6, 2)], reduction="none"),
            tiny("one point, sum", lambda d: [d(2, 1, 3), d(2, 3, 3)], reduction="sum"),
            kink("the same cloud", lambda d: [d(2, 5, 3)] * 2),
            real("surfaces", lambda d: [d(4, 128, 3), d(4, 100, 3)]),
            bench("16 of 512 and 512", lambda d: [d(16, 512, 3), d(16, 512, 3)]),
        ],
        rejects=[
            (lambda d: [d(2, 5, 3), d(2, 5, 2)], {}),
            (lambda d: [d(2, 5, 3), d(3, 5, 3)], {}),
            (lambda d: [d(2, 0, 3), d(2, 5, 3)], {}),
            (lambda d: [d(2, 5, 3), d(2, 5, 3).float()], {}),
            (lambda d: [d(2, 5, 3), d(2, 5, 3)], {"reduction": "average"}),
        ],
        batched=(0, 1),
        autocast=False,
    ),
]
