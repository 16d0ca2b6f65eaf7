"""Materials of mesh files: colours, and pictures found by the names that tools write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError

# Options of map_Kd and how many values each takes at most; of these three, numbers alone.
_OPTIONS = {"-blendu": 1, "-blendv": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-texres": 1, "-boost": 1}
_OPTIONS |= {"-bm": 1, "-type": 1, "-mm": 2, "-o": 3, "-s": 3, "-t": 3}
_VECTORS = ("-o", "-s", "-t")
LONGEST_NAME, LONGEST_PATH = 255, 4000  # bytes; a file system has no longer ones, and raises
_PLACES = (
    "",
    "textures",
    "../textures",
    "../materials/textures",
)  # beside the file, and where GSO keeps them


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture, uint8 (h, w, 3), and what is done to a place before it is looked up: scale, then offset."""

    picture: NDArray[np.uint8]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Material:
    """A material of an OBJ: its name, the values of Kd as they stand in the file, and its texture."""

    name: str
    color: str | None = None
    texture: Texture | None = None


def read_materials(obj: Path, text: str, textured: bool = True) -> dict[str, Material]:
    """Read the materials that an OBJ's text names; a library that is not there is passed over.

    Such files are common on the net, and harmless: the mesh is drawn grey. textured=False leaves the pictures
    out. Raises InputError where a picture is named that is not there, or cannot be read.
    """
    found: dict[str, Material] = {}
    for library in _libraries(obj, text):
        name = ""
        for line in library.read_text("utf-8-sig", "replace").splitlines():
            key, *rest = line.split(None, 1)[:2] or [""]
            value = rest[0].strip() if rest else ""
            if key.lower() == "newmtl":
                name = " ".join(value.split())
                found[name] = Material(name)
            elif name and key.lower() == "kd":
                found[name] = replace(found[name], color=value)
            elif name and key.lower() == "map_kd" and value and textured:
                found[name] = replace(found[name], texture=_texture(value, library))
    return found


def read_texture(path: Path) -> NDArray[np.uint8]:
    """Decode a picture of any kind: uint8 (h, w, 3). Raises InputError where it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16 bits of grey, which would be cut off at white
                grey = np.asarray(image, np.int64) >> 8
                return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
            return np.asarray(image.convert("RGB"), np.uint8)
    except Exception as error:  # a decoder raises whatever it stumbles over
        raise InputError(f"the texture cannot be read ({error})", where=path) from None


def find_file(folder: Path, name: str) -> Path | None:
    """Find a file that a mesh file names, in `folder` or where such pictures are kept; None where it is not.

    Backslashes separate folders, as on the machine that wrote them; of a whole path from there, the last
    part is looked for. Capitals do not matter where only they differ.
    """
    name = name.strip().strip('"').replace("\\", "/")
    last = name.rpartition("/")[2]
    if not name or "\0" in name or _is_too_long(name):
        return None
    for candidate in (folder / name, *(folder / place / last for place in _PLACES)):
        if candidate.is_file():
            return candidate
    for place in (folder / name).parent, folder:
        if place.is_dir():
            for path in sorted(place.iterdir()):
                if path.name.lower() == last.lower() and path.is_file():
                    return path
    return None


def _is_too_long(name: str) -> bool:
    whole = name.encode("utf-8", "replace")
    return len(whole) > LONGEST_PATH or max(map(len, whole.split(b"/"))) > LONGEST_NAME


def missing_texture(name: str, where: object) -> InputError:
    """The line of a picture that is not there."""
    return InputError(
        f"the texture {name:.80} does not exist",
        where=where,
        fix="put the picture beside the mesh, or delete that line",
    )


def _libraries(obj: Path, text: str) -> Iterator[Path]:
    """The material libraries of an OBJ: a line names one, whose name may hold spaces, or several."""
    for line in re.findall(r"^[ \t]*mtllib[ \t]+(.+?)\s*$", text, re.MULTILINE):
        whole = find_file(obj.parent, line)
        names = (find_file(obj.parent, name) for name in line.split())
        yield from [whole] if whole else [path for path in names if path]


def _texture(arguments: str, library: Path) -> Texture:
    """Read the picture of a map_Kd line: options, then a name that may hold spaces."""
    rest, vectors = arguments, {"-s": [1.0, 1.0], "-o": [0.0, 0.0]}
    while rest.split(None, 1)[0].lower() in _OPTIONS and len(rest.split(None, 1)) == 2:
        option, rest = rest.split(None, 1)
        values = []
        for _ in range(_OPTIONS[option.lower()]):
            word, *after = rest.split(None, 1)
            if not after or (option.lower() in _VECTORS and not _is_number(word)):
                break
            values.append(word)
            rest = after[0]
        if option.lower() in vectors:
            numbers = [float(value) for value in values[:2]]
            vectors[option.lower()][: len(numbers)] = numbers
    path = find_file(library.parent, rest)
    if path is None:
        raise missing_texture(rest, f"{library}: map_Kd")
    (su, sv), (ou, ov) = vectors["-s"], vectors["-o"]
    return Texture(read_texture(path), (su, sv), (ou, ov))


def _is_number(word: str) -> bool:
    return bool(re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", word))
