"""The models of BOP data sets: where they lie, their symmetries, and whether they are in millimetres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deeprob.data.readers.fields import as_list, as_numbers, as_object, as_transform, field, read_json
from deeprob.errors import InputError
from deeprob.geometry.mesh import Mesh
from deeprob.geometry.symmetry import Symmetries

MILLIMETRES = 1e-3
_SMALLEST = 2.0  # millimetres across: no object, but one in metres
_UNITS = 8.0  # a mistaken unit is a factor of 10 or more


def find_models(root: Path) -> Path:
    """Find models_info.json: in models, else models_eval, else the first models_*, as T-LESS has them."""
    found = sorted(
        root.glob("models*/models_info.json"),
        key=lambda path: (path.parent.name != "models", path.parent.name != "models_eval", path),
    )
    if not found:
        raise InputError("no models/models_info.json, which lists the objects", where=root)
    return found[0]


def read_models_info(path: Path) -> dict[int, dict[str, Any]]:
    """Read the entries of models_info.json by object id. Raises InputError for a broken one."""
    entries = as_object(read_json(path), path, "the file")
    if not all(key.isascii() and key.isdigit() for key in entries):
        raise InputError("a key is no object id", where=path, expected="whole numbers")
    return {int(key): as_object(value, path, f"object {key}") for key, value in entries.items()}


def check_unit(mesh: Mesh, info: dict[str, Any], path: Path) -> None:
    """Raise InputError for a model in metres, of which no pose would be found right, and no error be told."""
    across = float(np.linalg.norm(mesh.extents)) / MILLIMETRES
    diameter = info.get("diameter")
    if across < _SMALLEST:
        raise InputError(
            f"the model is {across:.3g} mm across",
            where=path,
            fix="in metres? BOP's models are in millimetres",
        )
    if isinstance(diameter, (int, float)) and not across / _UNITS < diameter < across * _UNITS:
        raise InputError(
            f"the diameter is {diameter:.3g} mm, but the model {across:.3g} mm across",
            where=f"{path.parent / 'models_info.json'} object {int(path.stem.removeprefix('obj_'))}",
            fix="both are in millimetres",
        )


def symmetries_of(info: dict[str, Any], where: str) -> Symmetries:
    """Read the symmetries of an object's entry in models_info.json, metres."""
    discrete, continuous = [], []
    for values in as_list(info.get("symmetries_discrete", []), where, "symmetries_discrete"):
        T = as_numbers(values, 16, where, "symmetries_discrete").reshape(4, 4)
        entry = {"cam_R_m2c": T[:3, :3].ravel().tolist(), "cam_t_m2c": T[:3, 3].tolist()}
        discrete.append(as_transform(entry, MILLIMETRES, f"{where} symmetries_discrete"))
    for value in as_list(info.get("symmetries_continuous", []), where, "symmetries_continuous"):
        entry = as_object(value, where, "symmetries_continuous")
        axis = as_numbers(field(entry, where, "axis"), 3, where, "axis")
        offset = as_numbers(field(entry, where, "offset"), 3, where, "offset") * MILLIMETRES
        if not np.linalg.norm(axis) > 0:
            raise InputError("axis has no length", where=where)
        continuous.append((axis, offset))
    return Symmetries(tuple(discrete), tuple(continuous))
