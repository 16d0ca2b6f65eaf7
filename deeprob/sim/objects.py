"""The objects of a simulated data set, and all of them packed for the rasteriser."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.geometry.mesh import Mesh, load_mesh
from deeprob.geometry.transform import make_transform
from deeprob.sim.settings import ObjectSettings

HULL_POINTS = 48  # support points that stand for an object in the physics


@dataclass(frozen=True)
class ObjectModel:
    """One kind of object: its name, its mesh in metres in the object's own frame, and where it came from."""

    name: str
    mesh: Mesh
    path: Path

    @cached_property
    def hull(self) -> NDArray[np.float64]:
        """Points (N, 3) whose convex hull is the collision shape: extremes in evenly spread directions."""
        spiral = np.arange(4 * HULL_POINTS) + 0.5
        height = 1 - 2 * spiral / len(spiral)
        angle = np.pi * (1 + 5**0.5) * spiral  # the golden spiral over the sphere
        radius = np.sqrt(1 - height**2)
        directions = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
        extremes = np.unique(np.argmax(self.mesh.vertices @ directions.T, axis=0))
        return np.asarray(self.mesh.vertices[extremes])

    @cached_property
    def radius(self) -> float:
        """Distance of the farthest vertex from the centre of the bounding box, metres."""
        return float(np.linalg.norm(self.mesh.vertices - self.mesh.centre, axis=1).max())


@dataclass(frozen=True)
class _Everyday:
    """A model that ships with PyBullet: file, largest side in metres, whether y is up in the file, colour."""

    path: str
    size: float
    y_up: bool = False
    color: tuple[float, float, float] | None = None


EVERYDAY = {
    "bunny": _Everyday("bunny.obj", 0.11, color=(0.82, 0.72, 0.6)),
    "cone": _Everyday("racecar/meshes/cone.obj", 0.11, color=(0.9, 0.4, 0.1)),
    "domino": _Everyday("domino/domino.obj", 0.09),
    "duck": _Everyday("duck.obj", 0.11, y_up=True),
    "jenga_block": _Everyday("jenga/jenga.obj", 0.12),
    "lego_brick": _Everyday("lego/lego.obj", 0.075, y_up=True, color=(0.85, 0.15, 0.1)),
    "mug": _Everyday("objects/mug.obj", 0.11, color=(0.35, 0.5, 0.75)),
    "ring": _Everyday("torus/torus_textured.obj", 0.11, y_up=True, color=(0.3, 0.65, 0.35)),
    "soccer_ball": _Everyday("soccerball.obj", 0.1),
    "teddy": _Everyday("teddy2_VHACD_CHs.obj", 0.12, color=(0.6, 0.42, 0.28)),
}
SIDES = {"jenga_block": (0.12, 0.04, 0.024)}  # the file is a unit cube, stretched where it is used


def load_objects(settings: ObjectSettings) -> tuple[ObjectModel, ...]:
    """The objects that the settings ask for, in the order of their class ids.

    Raises InputError for a name that is not there, with those that are.
    """
    if settings.folder == "everyday":
        names = tuple(EVERYDAY)
    else:
        raise InputError(
            f"no object set called {settings.folder}", where="sim.objects.folder", expected="everyday"
        )
    if settings.names:
        unknown = [name for name in settings.names if name not in names]
        if unknown:
            raise InputError(
                f"no object called {unknown[0]}",
                where="sim.objects.names",
                expected=f"some of {', '.join(names[:20])}",
            )
        names = tuple(settings.names)
    if settings.limit:
        names = names[: settings.limit]
    return tuple(_everyday(name) for name in names)


def _everyday(name: str) -> ObjectModel:
    """A model of the everyday set: z up, centred on its bounding box, at table-top size."""
    import pybullet_data

    entry = EVERYDAY[name]
    path = Path(pybullet_data.getDataPath()) / entry.path
    mesh = load_mesh(path)
    if entry.color is not None:
        mesh.colors[:] = entry.color
        mesh.face_texture[:] = -1
    if entry.y_up:
        mesh = mesh.transformed(make_transform([[1, 0, 0], [0, 0, -1], [0, 1, 0]]))
    if name in SIDES:
        scale = np.asarray(SIDES[name]) / mesh.extents  # axis-aligned faces: their normals stay as they are
        mesh.vertices[:] = mesh.vertices * scale
    else:
        mesh = mesh.transformed(np.diag([*(3 * [entry.size / mesh.extents.max()]), 1.0]))
    return ObjectModel(name, mesh.transformed(make_transform(t=-mesh.centre)), path)
