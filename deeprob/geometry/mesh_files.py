"""Meshes to files: OBJ with its textures for renderers, PLY for data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.geometry.mesh import Mesh
from deeprob.writing import atomic_file, write_text


def write_obj(mesh: Mesh, path: Path) -> None:
    """Write `path` (.obj), with its material library and a PNG for each texture beside it."""
    from PIL import Image

    materials, faces = [], []
    for texture in range(-1, len(mesh.textures)):
        chosen = np.flatnonzero(mesh.face_texture == texture)
        if not len(chosen):
            continue
        name = f"texture{texture}" if texture >= 0 else "plain"
        red, green, blue = mesh.colors[chosen].reshape(-1, 3).mean(axis=0, dtype=np.float64)
        color = f"{red:.6f} {green:.6f} {blue:.6f}"
        materials.append(f"newmtl {name}\nKa {color}\nKd {color}")
        if texture >= 0:
            picture = f"{path.stem}_{texture}.png" if texture else f"{path.stem}.png"
            with atomic_file(path.parent / picture, "wb") as file:
                Image.fromarray(mesh.textures[texture]).save(file, format="PNG")
            materials[-1] += f"\nmap_Kd {picture}"
        faces.append(f"usemtl {name}")
        for f in chosen:
            corners = (f"{v + 1}/{3 * f + k + 1}/{3 * f + k + 1}" for k, v in enumerate(mesh.faces[f]))
            faces.append("f " + " ".join(corners))
    lines = [f"mtllib {path.stem}.mtl"]
    lines += ["v {:.9g} {:.9g} {:.9g}".format(*vertex) for vertex in mesh.vertices]
    lines += ["vt {:.7g} {:.7g}".format(*uv) for uv in mesh.uv.reshape(-1, 2)]
    lines += ["vn {:.7g} {:.7g} {:.7g}".format(*normal) for normal in mesh.normals.reshape(-1, 3)]
    write_text(path.with_suffix(".mtl"), "\n".join(materials) + "\n")
    write_text(path, "\n".join(lines + faces) + "\n")


def write_ply(mesh: Mesh, path: Path, scale: float) -> None:
    """Write a binary PLY: vertices times `scale`, vertex normals and colours, as the BOP tools read it."""
    corner = mesh.faces.reshape(-1)
    colors = corner_colors(mesh).reshape(-1, 3)
    count = np.maximum(np.bincount(corner, minlength=len(mesh.vertices)), 1)[:, None]
    normals = _sum_at_vertices(corner, mesh.normals.reshape(-1, 3), len(mesh.vertices))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    shades = _sum_at_vertices(corner, colors, len(mesh.vertices)) / count
    rows = np.zeros(
        len(mesh.vertices), [*((name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")), ("c", "u1", 3)]
    )
    for axis, name in enumerate("xyz"):
        rows[name], rows[f"n{name}"] = mesh.vertices[:, axis] * scale, normals[:, axis]
    rows["c"] = np.clip(np.rint(shades * 255), 0, 255)
    faces = np.zeros(len(mesh.faces), [("n", "u1"), ("v", "<i4", 3)])
    faces["n"], faces["v"] = 3, mesh.faces
    properties = "".join(f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz"))
    properties += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n{properties}"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    with atomic_file(path, "wb") as file:
        file.write(header.encode() + rows.tobytes() + faces.tobytes())


def corner_colors(mesh: Mesh) -> NDArray[np.float64]:
    """Colours (F, 3, 3), 0..1, of the corners, the texture's nearest texel included."""
    colors = mesh.colors.astype(np.float64)
    for number, texture in enumerate(mesh.textures):
        chosen = mesh.face_texture == number
        height, width = texture.shape[:2]
        column = np.floor(mesh.uv[chosen, :, 0] * width).astype(np.int64) % width
        row = np.floor((1 - mesh.uv[chosen, :, 1]) * height).astype(np.int64) % height
        colors[chosen] *= texture[row, column] / 255
    return colors


def _sum_at_vertices(corner: NDArray[np.int32], values: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Sums of the corner values (3 F, 3) at each vertex (count, 3)."""
    return np.stack([np.bincount(corner, values[:, k], minlength=count) for k in range(3)], axis=1)
