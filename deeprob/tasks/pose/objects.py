"""What a pose network is told of the objects of a data set."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.geometry.mesh import Mesh
from deeprob.geometry.symmetry import Symmetries
from deeprob.geometry.thinning import thinned
from deeprob.metrics import pose
from deeprob.models.pose.by_render import FACES
from deeprob.models.pose.objects import NUM_POINTS, Objects
from deeprob.sim.depth import DepthRenderer
from deeprob.sim.symmetry import surface_points

CANDIDATES = 4096  # points of a surface to choose from

Floats = NDArray[np.float64]


class ObjectDepth:
    """Depth images of a source's objects, each of whose models is asked for when first drawn.

    A set may lack others.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._renderers: dict[int, DepthRenderer] = {}

    def __call__(self, class_id: int, T: Floats, K: Floats, size: tuple[int, int]) -> NDArray[np.float32]:
        """Depth (H, W), metres, 0 where the object is not. Raises InputError for one without a model."""
        if class_id not in self._renderers:
            self._renderers[class_id] = DepthRenderer([self.source.mesh(class_id)])
        return self._renderers[class_id](0, T, K, size)


def objects_of(source: Source) -> Objects:
    """Measure the objects of a source. Raises InputError where it does not know their shapes.

    And where an origin lies far from its object: its pose would be that of a point in the air.
    """
    meshes = [source.mesh(c) for c in range(len(source.classes))]
    for name, mesh in zip(source.classes, meshes, strict=True):
        away, size = float(np.linalg.norm(mesh.centre)), float(mesh.extents.max())
        if away > size:
            raise InputError(
                f"the origin of {name}, {100 * size:.0f} cm wide, lies {100 * away:.0f} cm from its middle",
                where=source.name,
                fix="move it into the object: data.sim.objects.centre=true",
            )
    symmetries = [source.symmetries(c) for c in range(len(source.classes))]
    discrete = [_discrete(s) for s in symmetries]
    most = max(len(d) for d in discrete)
    lines = [s.continuous[0] if s.continuous else (np.zeros(3), np.zeros(3)) for s in symmetries]
    arrays = (
        [m.centre for m in meshes],
        [m.extents / 2 for m in meshes],
        [pose.diameter(m.vertices) for m in meshes],
        [spread_out(surface_points(m, CANDIDATES, seed), NUM_POINTS) for seed, m in enumerate(meshes)],
        [np.concatenate([d, np.tile(np.eye(4), (most - len(d), 1, 1))]) for d in discrete],
        [axis / (np.linalg.norm(axis) or 1.0) for axis, _ in lines],
        [point for _, point in lines],
        _triangles(meshes),
    )
    return Objects(*(torch.from_numpy(np.asarray(a, np.float32)) for a in arrays))


def _triangles(meshes: list[Mesh]) -> Floats:
    """Corners (C, F, 3, 3) of meshes that are quickly drawn, each filled up with zeros."""
    small = [thinned(mesh, FACES) for mesh in meshes]
    corners = np.zeros((len(small), max(len(mesh.faces) for mesh in small), 3, 3))
    for row, mesh in zip(corners, small, strict=True):
        row[: len(mesh.faces)] = mesh.vertices[mesh.faces]
    return corners


def _discrete(symmetries: Symmetries) -> Floats:
    """All but the first continuous symmetry as transforms (S, 4, 4), the identity first."""
    return Symmetries(symmetries.discrete, symmetries.continuous[1:]).transforms(steps=12)


def spread_out(points: Floats, count: int) -> Floats:
    """The first `count` of points (N, 3) in an order in which each is farthest from all before it."""
    chosen = [int(np.linalg.norm(points - points.mean(0), axis=1).argmax())]
    nearest = np.linalg.norm(points - points[chosen[0]], axis=1)
    for _ in range(count - 1):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]
