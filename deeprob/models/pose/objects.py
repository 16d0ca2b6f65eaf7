"""What a pose network knows of each object: its size, points of its surface, its symmetries.

All of it lies in buffers, so a checkpoint needs no mesh to be used.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from deeprob.models.pose.by_render import Drawn
from deeprob.models.pose.icp import Surface

NUM_POINTS = 512


@dataclass(frozen=True, eq=False)
class Objects:
    """C objects, metres, each in its own frame.

    middle: (C, 3), of the bounding box. half_sides: (C, 3), half its sides. diameter: (C,), the largest
    distance of two points. surface: (C, P, 3), points in an order in which any first ones are spread out
    evenly. discrete: (C, S, 4, 4), symmetries, the identity first; an object with fewer has it more than
    once. axis, point: (C, 3), of the continuous symmetry about a line; axis of length 1, or 0 for none.
    triangles: (C, F, 3, 3), corners of a mesh that is quickly drawn; what an object has fewer of is 0.
    """

    middle: Tensor
    half_sides: Tensor
    diameter: Tensor
    surface: Tensor
    discrete: Tensor
    axis: Tensor
    point: Tensor
    triangles: Tensor

    @classmethod
    def spheres(cls, count: int) -> Objects:
        """Objects of which nothing is known: spheres of 10 cm, which have no symmetry."""
        generator = torch.Generator().manual_seed(0)
        directions = torch.randn(NUM_POINTS, 3, generator=generator)
        surface = 0.05 * directions / directions.norm(dim=1, keepdim=True)
        zeros = torch.zeros(count, 3)
        return cls(
            zeros,
            zeros + 0.05,
            torch.full((count,), 0.1),
            surface.repeat(count, 1, 1),
            torch.eye(4).repeat(count, 1, 1, 1),
            zeros,
            zeros,
            torch.zeros(count, 0, 3, 3),
        )


class ObjectTable(nn.Module):
    """`Objects` as buffers, and what follows from them for a batch of labels int64 (B,)."""

    middle: Tensor
    half_sides: Tensor
    diameter: Tensor
    surface: Tensor
    discrete: Tensor
    axis: Tensor
    point: Tensor
    triangles: Tensor

    def __init__(self, objects: Objects) -> None:
        super().__init__()
        for field in fields(objects):
            self.register_buffer(field.name, getattr(objects, field.name).float().clone())

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """Take a checkpoint's objects, however many symmetries they have; older ones lack triangles."""
        for field in fields(Objects):
            found = state_dict.get(prefix + field.name)
            own = getattr(self, field.name)
            if found is None and field.name == "triangles":
                state_dict[prefix + field.name] = own
            if isinstance(found, Tensor) and len(found) == len(own):
                setattr(self, field.name, own.new_empty(found.shape))
        super()._load_from_state_dict(state_dict, prefix, *others)

    @property
    def is_symmetric(self) -> Tensor:
        """Whether each class has a symmetry: bool (C,)."""
        unit = torch.eye(4, device=self.discrete.device)
        discrete = ((self.discrete - unit).abs() > 1e-4).flatten(1).any(1)
        return discrete | (self.axis.abs() > 0).any(1)

    def surfaces(self) -> list[Surface]:
        """The surface of each class, for ICP."""
        pairs = zip(self.surface.double().cpu().numpy(), self.diameter.tolist(), strict=True)
        return [Surface(points, diameter) for points, diameter in pairs]

    def drawn(self, label: int) -> Drawn | None:
        """The mesh of a class, for a pose to be refined on its picture; None where there is none."""
        triangles = self.triangles[label].cpu()
        triangles = triangles[triangles.flatten(1).any(1)]
        if not len(triangles):
            return None
        return Drawn.of_triangles(triangles, self.middle[label].cpu(), float(self.diameter[label]))

    def scaled(self, points: Tensor, labels: Tensor) -> Tensor:
        """Object points (B, ..., 3) in diameters from the middle: about -0.5 to 0.5."""
        middle, diameter = self._of(labels, points.dim())
        return (points - middle) / diameter

    def metric(self, scaled: Tensor, labels: Tensor) -> Tensor:
        """The inverse of `scaled`: metres in the object's frame."""
        middle, diameter = self._of(labels, scaled.dim())
        return scaled * diameter + middle

    def fragments(self, labels: Tensor, count: int) -> Tensor:
        """Centres (B, count, 3) of the parts that a surface is divided into, as `scaled` has them."""
        return self.scaled(self.surface[labels, :count], labels)

    def symmetric(self, T: Tensor, labels: Tensor) -> Tensor:
        """All poses (B, S, 4, 4) that look like T (B, 4, 4).

        Of those about a continuous axis there is one each: that whose rotation, seen along the ray to a
        point of the axis, is nearest to the identity (Pitteri et al., On object symmetries and 6D pose
        estimation from images, 2019).
        """
        poses = T[:, None] @ self.discrete[labels]
        axis, point = self.axis[labels][:, None], self.point[labels][:, None]
        there = (poses[..., :3, :3] @ point[..., None]).squeeze(-1) + poses[..., :3, 3]
        R = allocentric(poses[..., :3, :3], there)
        cross = skew(axis)
        cos = R.diagonal(dim1=-2, dim2=-1).sum(-1) - (axis * (R @ axis[..., None]).squeeze(-1)).sum(-1)
        sin = (R * cross.mT).sum((-2, -1))
        angle = torch.atan2(sin, cos)[..., None, None]
        turn = torch.eye(3, device=T.device) + torch.sin(angle) * cross
        turn = turn + (1 - torch.cos(angle)) * (cross @ cross)
        motion = torch.eye(4, device=T.device).expand(*poses.shape).clone()
        motion[..., :3, :3] = turn
        motion[..., :3, 3] = point - (turn @ point[..., None]).squeeze(-1)
        same: Tensor = poses @ motion
        return same

    def _of(self, labels: Tensor, axes: int) -> tuple[Tensor, Tensor]:
        shape = (labels.shape[0], *([1] * (axes - 2)))  # not len: an export would fix the number
        return self.middle[labels].view(*shape, 3), self.diameter[labels].view(*shape, 1)


def skew(v: Tensor) -> Tensor:
    """[v]_x (..., 3, 3) of v (..., 3): [v]_x w = v x w."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return torch.stack(rows, -1).reshape(*v.shape[:-1], 3, 3)


def ray_turn(t: Tensor) -> Tensor:
    """The smallest rotation (..., 3, 3) of the optical axis onto the direction of t (..., 3), in front."""
    d = t / t.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    v = torch.stack([-d[..., 1], d[..., 0], torch.zeros_like(d[..., 0])], -1)  # z x d
    cross = skew(v)
    share = 1 / (1 + d[..., 2]).clamp_min(1e-6)
    turn: Tensor = torch.eye(3, device=t.device) + cross + cross @ cross * share[..., None, None]
    return turn


def allocentric(R: Tensor, t: Tensor) -> Tensor:
    """Rotations (..., 3, 3) seen along the ray to the object: what looks alike is alike, wherever it is.

    Source: Kundu et al., 3D-RCNN (2018), section 3.2.
    """
    seen: Tensor = ray_turn(t).mT @ R
    return seen


def egocentric(R: Tensor, t: Tensor) -> Tensor:
    """The inverse of `allocentric`: rotations in the camera's own axes."""
    return ray_turn(t) @ R
