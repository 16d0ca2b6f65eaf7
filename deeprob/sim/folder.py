"""Objects from a folder of one's own, with their units and frames checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeprob.errors import InputError
from deeprob.geometry.mesh import MESH_SUFFIXES, Mesh, load_mesh
from deeprob.geometry.symmetry import Symmetries
from deeprob.geometry.thinning import thinned
from deeprob.geometry.transform import make_transform
from deeprob.sim.object_files import find_objects, passed_over
from deeprob.sim.object_model import ObjectModel
from deeprob.sim.settings import ObjectSettings
from deeprob.sim.urdf import load_urdf

SMALLEST, LARGEST = 0.005, 1.5  # metres: the sides that an object on a table may have
DESCRIPTION = "objects.yaml"  # optional: file's name -> {name, scale, symmetries_discrete, ..._continuous}
NAMES = "names.json"  # optional, beside BOP models: object id -> name, as deeprob render writes it
_BOP = 1e-3


def folder_files(folder: Path) -> dict[str, Path]:
    """Name -> file of every object in a folder, in order of the names.

    An object is a file (its name is the file's), or a folder that holds a mesh or URDF (its name is the
    folder's, as in PROPS, `14_mug/textured_simple.obj` is mug), itself or one folder deeper. Of several forms
    of one object that with a texture is taken. A mesh that a URDF there is made of is no object. Raises
    InputError where there is none.
    """
    if folder.is_file() and folder.suffix.lower() in (*MESH_SUFFIXES, ".urdf"):
        return {folder.stem: folder}
    if not folder.is_dir():
        raise InputError(
            "no such folder of objects",
            where=f"sim.objects.folder={folder}",
            expected="everyday, random_urdfs, or a folder with OBJ, PLY, STL or URDF files",
        )
    files = find_objects(folder)
    if not files:
        told = passed_over(folder, ())
        raise InputError(
            "the folder holds no object" + (f"; {told}" if told else ""),
            where=folder,
            expected="OBJ, PLY, STL or URDF files",
        )
    named = {_class_name(name, path): path for name, path in files.items()}
    if len(named) < len(files):
        raise InputError("two objects have the same name", where=folder, expected="a name for each object")
    return named


def _class_name(name: str, path: Path) -> str:
    """The name that objects.yaml gives to an object, or names.json to a BOP model; else its own."""
    names = path.parent / NAMES
    number = path.stem.removeprefix("obj_")
    if names.is_file() and path.stem.startswith("obj_") and number.isdigit():
        try:
            return str(json.loads(names.read_text(encoding="utf-8-sig")).get(str(int(number)), name))
        except (ValueError, AttributeError) as error:
            raise InputError(f"no names can be read ({error})", where=names) from error
    return str(_description(path.parent, name).get("name", name))


def load_file(name: str, path: Path, settings: ObjectSettings) -> ObjectModel:
    """One object. Raises InputError for a file that cannot be used, or a size that cannot be meant."""
    entry = _description(path.parent, name)
    info = _models_info(path)
    scale = settings.scale * _scale(entry, path) * (_BOP if info is not None else 1.0)
    mesh = load_urdf(path, scale) if path.suffix.lower() == ".urdf" else load_mesh(path, scale)
    _check_size(name, mesh, path)
    if settings.max_faces:
        mesh = thinned(mesh, settings.max_faces)
    symmetries = _symmetries(entry, path, 1.0) if info is None else _symmetries(info, path, _BOP)
    if settings.centre:
        shift = make_transform(t=-mesh.centre)
        back = make_transform(t=mesh.centre)
        symmetries = replace(
            symmetries,
            discrete=tuple(shift @ T @ back for T in symmetries.discrete),
            continuous=tuple((axis, point - mesh.centre) for axis, point in symmetries.continuous),
        )
        mesh = mesh.transformed(shift)
    return ObjectModel(name, mesh, path, symmetries)


def _scale(entry: dict[str, Any], path: Path) -> float:
    """The factor that objects.yaml gives, else 1."""
    try:
        scale = float(entry.get("scale", 1.0))
    except (TypeError, ValueError):
        scale = float("nan")
    if not 0 < scale < np.inf:
        raise InputError(
            f"scale is {entry['scale']!r}",
            where=f"{DESCRIPTION}, object {path.stem}",
            expected="a number above 0",
        )
    return scale


def _check_size(name: str, mesh: Mesh, path: Path) -> None:
    """Notice wrong units, and an origin far from the object."""
    size = float(mesh.extents.max())
    if size > LARGEST:
        guess = next((s for unit, s in (("m", 1e-3), ("cm", 1e-2)) if SMALLEST < size * s < LARGEST), None)
        unit = "millimetres" if guess == 1e-3 else "centimetres"
        fix = f"{unit}? set sim.objects.scale={guess:g}" if guess else "set sim.objects.scale"
        raise InputError(f"this {name} is {size:.3g} metres wide", where=path, fix=fix)
    if size < SMALLEST:
        raise InputError(
            f"this {name} is {1000 * size:.2g} millimetres wide",
            where=path,
            fix="set sim.objects.scale, 1 is metres",
        )


def check_origin(model: ObjectModel) -> str | None:
    """A line of warning where the origin lies outside the object by more than its size, else None."""
    distance, size = float(np.linalg.norm(model.mesh.centre)), float(model.mesh.extents.max())
    if distance <= size:
        return None
    return (
        f"{model.path}: the origin lies {100 * distance:.0f} cm from the middle of this {model.name}, "
        f"{100 * size:.0f} cm wide: poses will be of that point; set sim.objects.centre=true to move it"
    )


def _description(folder: Path, name: str) -> dict[str, Any]:
    """The entry of an object in objects.yaml, beside the file or one folder above, else nothing."""
    from omegaconf import OmegaConf

    from deeprob.config_files import read_yaml

    for path in (folder / DESCRIPTION, folder.parent / DESCRIPTION):
        if path.is_file():
            content = OmegaConf.to_container(read_yaml(path))
            entries = content if isinstance(content, dict) else {}
            called = [e for e in entries.values() if isinstance(e, dict) and e.get("name") == name]
            entry = entries.get(name, called[0] if called else {}) if isinstance(content, dict) else None
            known = {"name", "scale", "symmetries_discrete", "symmetries_continuous"}
            if not isinstance(entry, dict) or not set(entry) <= known:
                raise InputError(
                    f"the entry {name} cannot be used", where=path, expected=f"{', '.join(sorted(known))}"
                )
            return {str(key): value for key, value in entry.items()}
    return {}


def _models_info(path: Path) -> dict[str, Any] | None:
    """The entry of a BOP model (obj_000001.ply) in models_info.json, or None where it is no BOP model."""
    info = path.parent / "models_info.json"
    number = path.stem.removeprefix("obj_")
    if not info.is_file() or not number.isdigit():
        return None
    try:
        entry: dict[str, Any] = json.loads(info.read_text(encoding="utf-8-sig"))[str(int(number))]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"no entry of object {int(number)} ({error})", where=info) from error
    return entry


def _symmetries(entry: dict[str, Any], path: Path, unit: float) -> Symmetries:
    """BOP's notation: symmetries_discrete, lists of 16; symmetries_continuous, {axis, offset}."""
    try:
        discrete = [np.asarray(T, np.float64).reshape(4, 4) for T in entry.get("symmetries_discrete", [])]
        continuous = [
            (
                np.asarray(s["axis"], np.float64).reshape(3),
                np.asarray(s["offset"], np.float64).reshape(3) * unit,
            )
            for s in entry.get("symmetries_continuous", [])
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"a symmetry cannot be read ({error})", where=path) from error
    for T in discrete:
        T[:3, 3] *= unit
    return Symmetries(tuple(discrete), tuple(continuous))
