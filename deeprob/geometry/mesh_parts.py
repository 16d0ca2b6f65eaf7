"""What mesh files hold, read by trimesh, each part with its colours and its texture."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.geometry.materials import Texture, find_file, missing_texture, read_materials, read_texture

GREY = 0.7
Part = tuple[
    NDArray[np.float64],
    NDArray[Any],
    NDArray[np.float32],
    NDArray[np.float32] | None,
    NDArray[np.uint8] | None,
]
"""Vertices (V, 3), faces (F, 3), corner colours (F, 3, 3), corner uv (F, 3, 2) or None, texture or None."""


def read_parts(path: Path, textured: bool = True) -> list[Part]:
    """Read the parts of an OBJ, PLY or STL file, those of one material together.

    Raises InputError, naming the file, where it cannot be read or a texture is missing.
    """
    import trimesh

    prepare = {".obj": _prepare_obj, ".ply": _prepare_ply}.get(path.suffix.lower(), _prepare_other)
    try:
        content, resolver, textures = prepare(path, textured)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scene = trimesh.load_scene(
                content, file_type=path.suffix[1:].lower(), resolver=_Resolver(resolver), process=False
            )
            shown = [g for g in scene.geometry.values() if hasattr(g, "faces")]
            return [_part(geometry, textures) for geometry in shown]
    except InputError:
        raise
    except Exception as error:  # trimesh raises whatever its parsers stumble over
        raise InputError(
            f"the mesh cannot be read ({error})", where=path, expected="a valid OBJ, PLY or STL file"
        ) from error


class _Resolver:
    """The files beside a mesh, as trimesh asks for them."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def get(self, name: str) -> bytes:
        return self.files[name.strip()]

    __getitem__ = get


def _prepare_obj(path: Path, textured: bool) -> tuple[io.BytesIO, dict[str, bytes], dict[str, Texture]]:
    """The OBJ and a library of its materials, without pictures, as trimesh reads them; and the textures.

    The faces of a file that never chooses among its materials have the one there is.
    """
    text = path.read_bytes().decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    materials = read_materials(path, text, textured)
    text = re.sub(r"^[ \t]*mtllib\b.*$", "", text, flags=re.MULTILINE)
    text, chosen = re.subn(
        r"^[ \t]*usemtl[ \t]+(.*?)[ \t]*$",
        lambda found: "usemtl " + " ".join(found[1].split()),
        text,
        flags=re.MULTILINE,
    )
    head = "mtllib materials\n" if materials else ""
    if not chosen and len(materials) == 1:
        head += f"usemtl {next(iter(materials))}\n"
    library = "".join(
        f"newmtl {name}\n" + (f"Kd {material.color}\n" if material.color else "")
        for name, material in materials.items()
    )
    textures = {name: material.texture for name, material in materials.items() if material.texture}
    return io.BytesIO((head + text).encode()), {"materials": library.encode()}, textures


def _prepare_other(path: Path, textured: bool) -> tuple[io.BytesIO, dict[str, bytes], dict[str, Texture]]:
    """A file that names no other."""
    return io.BytesIO(path.read_bytes()), {}, {}


def _prepare_ply(path: Path, textured: bool) -> tuple[io.BytesIO, dict[str, bytes], dict[str, Texture]]:
    """The PLY, and the picture that a comment in its header names, if any."""
    content = path.read_bytes()
    header = content[: content.find(b"end_header") + 1]
    found = re.search(rb"^comment[ \t]+TextureFile[ \t]+(.+?)\s*$", header, re.MULTILINE)
    if found is None:
        return io.BytesIO(content), {}, {}
    name = found[1].decode("utf-8", "replace")
    picture = find_file(path.parent, name) if textured else None
    if picture is None:
        if textured:
            raise missing_texture(name, f"{path}: comment TextureFile")
        content = content.replace(found[0], b"comment" + b" " * (len(found[0]) - 7), 1)
        return io.BytesIO(content), {}, {}
    texture = Texture(read_texture(picture))
    return io.BytesIO(content), {name: picture.read_bytes()}, {"": texture}


def _part(geometry: Any, textures: dict[str, Texture]) -> Part:
    """A trimesh geometry's vertices, faces, corner colours, corner uv and texture."""
    vertices, faces = np.asarray(geometry.vertices, np.float64), np.asarray(geometry.faces)
    visual = geometry.visual
    material, uv = getattr(visual, "material", None), getattr(visual, "uv", None)
    colors = np.full((len(faces), 3, 3), GREY, np.float32)
    if material is not None:
        texture = textures.get(getattr(material, "name", None) or "", textures.get(""))
        if texture is not None and uv is not None:
            scale, offset = (np.asarray(pair, np.float32) for pair in (texture.scale, texture.offset))
            places = np.asarray(uv, np.float32)[faces] * scale + offset
            return vertices, faces, np.ones_like(colors), places, texture.picture
        colors[:] = np.asarray(material.main_color[:3], np.float32) / 255
    elif visual.kind == "vertex":
        colors = np.asarray(visual.vertex_colors[:, :3], np.float32)[faces] / 255
    elif visual.kind == "face":
        colors[:] = np.asarray(visual.face_colors[:, None, :3], np.float32) / 255
    return vertices, faces, colors, None, None
