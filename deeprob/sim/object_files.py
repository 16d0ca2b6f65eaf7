"""Which file of a folder is an object: meshes of many tools lie in several forms, at several depths."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from deeprob.data.readers.reading import is_litter
from deeprob.geometry.materials import find_file
from deeprob.geometry.mesh import MESH_SUFFIXES

READ = (".urdf", *MESH_SUFFIXES)  # the first is taken where an object has several
NOT_READ = (
    *(".dae", ".glb", ".gltf", ".fbx", ".off", ".3ds", ".blend", ".usd", ".usda", ".usdc", ".usdz"),
    *(".step", ".stp", ".wrl", ".x3d", ".sdf"),
)
_HEAD = 1 << 16  # bytes in which a mesh names its library or texture
# in names of forms that are not for the eye
_LESS = ("nontextured", "collision", "convex", "vhacd", "coacd", "hull", "decomp")
_FORM = re.compile(rf"[-_. ]+(?:({'|'.join(_LESS)})\w*|visual)$", re.IGNORECASE)


def find_objects(folder: Path) -> dict[str, Path]:
    """Name -> file of every object in a folder, in order of the names; of several forms the best.

    Objects are files, named by their stem; or, where there is none, folders that hold one, at most one folder
    deeper (as in YCB, `025_mug/google_16k/textured.obj` is mug), in order of their leading numbers. A
    mug_collision.obj beside mug.obj, or beside mug_visual.obj, is no object of its own.
    """
    parts = parts_of_urdfs(folder)
    forms: dict[str, list[Path]] = {}
    for path in _objects_in(folder):
        if path not in parts:
            forms.setdefault(path.stem, []).append(path)
    if any(stem.startswith("textured") for stem in forms):
        forms = {stem: paths for stem, paths in forms.items() if not stem.startswith("nontextured")}
    shown = {_FORM.sub("", stem).lower() for stem in forms if not _is_less(stem)}
    forms = {
        stem: paths
        for stem, paths in forms.items()
        if not _is_less(stem) or _FORM.sub("", stem).lower() not in shown
    }
    if forms:
        return {stem: best_form(paths) for stem, paths in forms.items()}
    found = {}
    for inner in sorted(_folders(folder), key=_by_number):
        paths = _objects_in(inner) or [path for deeper in _folders(inner) for path in _objects_in(deeper)]
        if paths:
            number, _, name = inner.name.partition("_")
            found[name if number.isdigit() and name else inner.name] = best_form(paths)
    return found


def _is_less(stem: str) -> bool:
    """Whether a name ends as that of a form for the physics, such as mug_collision or mug.vhacd."""
    found = _FORM.search(stem)
    return found is not None and found[1] is not None


def best_form(paths: Iterable[Path]) -> Path:
    """Choose among files of one object: a URDF, else what has a texture, else colours."""

    def rank(path: Path) -> tuple[object, ...]:
        plain = any(word in path.stem.lower() for word in _LESS)
        suffix = READ.index(path.suffix.lower())
        return suffix > 0, -_looks(path), plain, suffix, str(path)

    return min(paths, key=rank)


def passed_over(folder: Path, taken: Iterable[Path]) -> str | None:
    """Say how many mesh files of kinds that are not read lie where no other form of them was taken."""
    if not folder.is_dir():
        return None
    used = {(path.parent, path.stem) for path in taken}
    known = {place for path in taken for place in path.parents[:2]}
    lost = [
        path
        for place in (folder, *_folders(folder))
        for path in sorted(place.iterdir(), key=lambda path: path.name)
        if path.suffix.lower() in NOT_READ and not is_litter(path.name)
        if (path.parent, path.stem) not in used and (place == folder or place not in known)
    ]
    if not lost:
        return None
    kinds = Counter(path.suffix.lower() for path in lost)
    told = ", ".join(f"{count} {suffix}" for suffix, count in sorted(kinds.items()))
    count = "1 mesh file is" if len(lost) == 1 else f"{len(lost)} mesh files are"
    return f"{count} passed over ({told}), such as {lost[0].relative_to(folder)}"


def parts_of_urdfs(folder: Path) -> set[Path]:
    """The meshes beside URDFs that these are made of: parts of objects, no objects."""
    parts = set()
    for path in folder.glob("*.urdf"):
        text = path.read_text(encoding="utf-8", errors="replace")
        for name in re.findall(r"""filename\s*=\s*["']([^"']+)["']""", text):
            # of a package, the folder that is meant lies somewhere above
            parts.add(folder / (name.rpartition("/")[2] if "://" in name else name.removeprefix("./")))
    return parts


def _looks(path: Path) -> int:
    """2 for a mesh with a texture, 1 with colours, 0 with neither."""
    with path.open("rb") as file:
        head = file.read(_HEAD).decode("utf-8", "replace")
    if path.suffix.lower() == ".ply":
        head = head.partition("end_header")[0]
        return 2 if "TextureFile" in head else int(" red" in head)
    if path.suffix.lower() != ".obj":
        return 0
    looks = 0
    for name in re.findall(r"^\s*mtllib\s+(.+?)\s*$", head, re.MULTILINE):
        library = find_file(path.parent, name)
        if library is not None:
            text = library.read_text("utf-8", "replace").lower()
            looks = max(looks, 2 if "map_kd" in text else int("kd" in text))
    return looks


def _objects_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in READ and path.is_file() and not is_litter(path.name)
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_litter(path.name))


def _by_number(path: Path) -> tuple[int, str]:
    number = path.name.partition("_")[0]
    return (int(number), path.name) if number.isdigit() else (1 << 30, path.name)
