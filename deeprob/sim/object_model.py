"""One object of a simulated data set: its mesh, the shape that collides, and its symmetries."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from deeprob.geometry.mesh import Mesh
from deeprob.geometry.symmetry import Symmetries

HULL_POINTS = 48  # support points that stand for an object in the physics
F64: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class ObjectModel:
    """One kind of object: its name, its mesh in metres in the object's own frame, and where it came from."""

    name: str
    mesh: Mesh
    path: Path
    symmetries: Symmetries = field(default_factory=Symmetries)

    @cached_property
    def hull(self) -> F64:
        """Points (N, 3) whose convex hull is the collision shape: extremes in evenly spread directions."""
        spiral = np.arange(4 * HULL_POINTS) + 0.5
        height = 1 - 2 * spiral / len(spiral)
        angle = np.pi * (1 + 5**0.5) * spiral  # the golden spiral over the sphere
        radius = np.sqrt(1 - height**2)
        directions = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
        extremes = np.unique([int(np.argmax(self.mesh.vertices @ direction)) for direction in directions])
        return np.asarray(self.mesh.vertices[extremes])

    @cached_property
    def centred_hull(self) -> list[list[float]]:
        """The hull around the middle of its bounding box, as PyBullet takes it."""
        points: list[list[float]] = (self.hull - (self.hull.max(axis=0) + self.hull.min(axis=0)) / 2).tolist()
        return points

    @cached_property
    def radius(self) -> float:
        """Distance of the farthest vertex from the centre of the bounding box, metres."""
        return float(np.linalg.norm(self.mesh.vertices - self.mesh.centre, axis=1).max())
