"""The objects of a simulated data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeprob.errors import InputError
from deeprob.geometry.mesh import load_mesh
from deeprob.geometry.rotation import axis_angle_to_matrix
from deeprob.geometry.symmetry import Symmetries
from deeprob.geometry.transform import make_transform
from deeprob.sim.folder import folder_files, load_file
from deeprob.sim.object_model import ObjectModel
from deeprob.sim.settings import ObjectSettings


@dataclass(frozen=True)
class _Everyday:
    """A model that ships with PyBullet: file, largest side in metres, whether y is up in the file, colour.

    turns: it looks the same after 1 / turns of a turn about z; 0: after any.
    """

    path: str
    size: float
    y_up: bool = False
    color: tuple[float, float, float] | None = None
    turns: int = 1


EVERYDAY = {
    "bunny": _Everyday("bunny.obj", 0.11, color=(0.82, 0.72, 0.6)),
    "cone": _Everyday("racecar/meshes/cone.obj", 0.11, color=(0.9, 0.4, 0.1), turns=4),
    "domino": _Everyday("domino/domino.obj", 0.09),
    "duck": _Everyday("duck.obj", 0.11, y_up=True),
    "jenga_block": _Everyday("jenga/jenga.obj", 0.12),
    "lego_brick": _Everyday("lego/lego.obj", 0.075, y_up=True, color=(0.85, 0.15, 0.1), turns=4),
    "mug": _Everyday("objects/mug.obj", 0.11, color=(0.35, 0.5, 0.75)),
    "ring": _Everyday("torus/torus_textured.obj", 0.11, y_up=True, color=(0.3, 0.65, 0.35), turns=0),
    "soccer_ball": _Everyday("soccerball.obj", 0.1),
    "teddy": _Everyday("teddy2_VHACD_CHs.obj", 0.12, color=(0.6, 0.42, 0.28)),
}
SIDES = {"jenga_block": (0.12, 0.04, 0.024)}  # the file is a unit cube, stretched where it is used


def load_objects(settings: ObjectSettings) -> tuple[ObjectModel, ...]:
    """The objects that the settings ask for, in the order of their class ids.

    Raises InputError for a name or a folder that is not there, and for a model that cannot be used.
    """
    if settings.folder == "everyday":
        names = _chosen(settings, tuple(EVERYDAY))
        return tuple(_everyday(name) for name in names)
    if settings.folder == "random_urdfs":
        files = {path.stem: path for path in sorted((_pybullet_data() / "random_urdfs").glob("*/*.urdf"))}
    else:
        files = folder_files(Path(settings.folder).expanduser())
    return tuple(load_file(name, files[name], settings) for name in _chosen(settings, tuple(files)))


def _chosen(settings: ObjectSettings, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names to take, of those there are."""
    unknown = [name for name in settings.names if name not in names]
    if unknown:
        raise InputError(
            f"no object called {unknown[0]}",
            where="sim.objects.names",
            expected=f"some of {', '.join(names[:20])}",
        )
    chosen = tuple(settings.names) or names
    return chosen[: settings.limit] if settings.limit else chosen


def _everyday(name: str) -> ObjectModel:
    """A model of the everyday set: z up, centred on its bounding box, at table-top size."""
    entry = EVERYDAY[name]
    path = _pybullet_data() / entry.path
    mesh = load_mesh(path)
    if entry.color is not None:
        mesh.colors[:] = entry.color
        mesh.face_texture[:] = -1
    if entry.y_up:
        mesh = mesh.transformed(make_transform([[1, 0, 0], [0, 0, -1], [0, 1, 0]]))
    if name in SIDES:
        mesh = mesh.transformed(np.diag([*(np.asarray(SIDES[name]) / mesh.extents), 1.0]))
    else:
        mesh = mesh.transformed(np.diag([*(3 * [entry.size / mesh.extents.max()]), 1.0]))
    return ObjectModel(name, mesh.transformed(make_transform(t=-mesh.centre)), path, _turns(entry.turns))


def _turns(count: int) -> Symmetries:
    axis, origin = np.array([0.0, 0.0, 1.0]), np.zeros(3)
    if count == 0:
        return Symmetries(continuous=((axis, origin),))
    return Symmetries(
        tuple(make_transform(axis_angle_to_matrix(axis, 2 * np.pi * k / count)) for k in range(1, count))
    )


def _pybullet_data() -> Path:
    import pybullet_data

    return Path(pybullet_data.getDataPath())
