"""Triangle meshes: loading, checking, and the per-corner attributes that rendering needs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.geometry.mesh_parts import read_parts
from deeprob.geometry.surface import corner_normals, face_normals, orientation

MESH_SUFFIXES = (".obj", ".ply", ".stl")


@dataclass(frozen=True)
class Mesh:
    """Triangles with attributes at their corners, so that a vertex can be shared across texture seams.

    vertices: float64 (V, 3), metres, object frame. faces: int32 (F, 3), counter-clockwise seen from outside.
    normals: float32 (F, 3, 3), unit, one per corner. colors: float32 (F, 3, 3), red, green, blue in 0..1.
    uv: float32 (F, 3, 2), origin at the texture's lower left. face_texture: int32 (F,), index into textures,
    -1 none. textures: uint8 (h, w, 3) each. closed: watertight with consistent winding, so back faces are
    never seen.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    normals: NDArray[np.float32]
    colors: NDArray[np.float32]
    uv: NDArray[np.float32]
    face_texture: NDArray[np.int32]
    textures: tuple[NDArray[np.uint8], ...]
    closed: bool

    @property
    def extents(self) -> NDArray[np.float64]:
        """Size along x, y and z in metres."""
        return np.asarray(np.ptp(self.vertices, axis=0))

    @property
    def centre(self) -> NDArray[np.float64]:
        """Middle of the bounding box."""
        return np.asarray((self.vertices.min(axis=0) + self.vertices.max(axis=0)) / 2)

    def transformed(self, T: NDArray[np.float64]) -> Mesh:
        """The mesh under an affine T (4, 4) that can be inverted (else InputError), faces still outwards.

        A mirror image (a negative determinant) turns the winding. The normals turn along with a rotation and
        a uniform scale; any other map changes the angles between faces, and they are computed anew.
        """
        A = T[:3, :3]
        determinant = np.linalg.det(A) if np.isfinite(T).all() else 0.0
        if not abs(determinant) > 1e-30:
            raise InputError(
                f"a mesh cannot be scaled by {_factors(A)}", where="mesh", expected="factors above 0"
            )
        vertices = self.vertices @ A.T + T[:3, 3]
        order = [0, 1, 2] if determinant > 0 else [0, 2, 1]
        faces = np.ascontiguousarray(self.faces[:, order])
        scale = np.cbrt(abs(determinant))
        if np.allclose(A @ A.T, scale**2 * np.eye(3), rtol=0, atol=1e-9 * scale**2):
            normals = np.ascontiguousarray(self.normals[:, order] @ (A / scale).T.astype(np.float32))
        else:
            normals = corner_normals(vertices, faces)
        return replace(
            self,
            vertices=vertices,
            faces=faces,
            normals=normals,
            colors=np.ascontiguousarray(self.colors[:, order]),
            uv=np.ascontiguousarray(self.uv[:, order]),
        )


def make_mesh(
    vertices: NDArray[Any],
    faces: NDArray[Any],
    *,
    color: tuple[float, float, float] = (0.7, 0.7, 0.7),
    where: object = "mesh",
) -> Mesh:
    """A mesh of one colour from vertices (V, 3) and faces (F, 3). Raises InputError for unusable geometry."""
    corners = np.broadcast_to(np.asarray(color, np.float32), (len(faces), 3, 3)).copy()
    return _assemble([(np.asarray(vertices), np.asarray(faces), corners, None, None)], where)


def join_meshes(meshes: list[Mesh]) -> Mesh:
    """One mesh that holds all of them."""
    vertex_start = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    texture_start = np.cumsum([0] + [len(mesh.textures) for mesh in meshes])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        faces=np.concatenate([m.faces + n for m, n in zip(meshes, vertex_start, strict=False)]).astype(
            np.int32
        ),
        normals=np.concatenate([mesh.normals for mesh in meshes]),
        colors=np.concatenate([mesh.colors for mesh in meshes]),
        uv=np.concatenate([mesh.uv for mesh in meshes]),
        face_texture=np.concatenate(
            [
                np.where(m.face_texture < 0, -1, m.face_texture + n)
                for m, n in zip(meshes, texture_start, strict=False)
            ]
        ).astype(np.int32),
        textures=tuple(texture for mesh in meshes for texture in mesh.textures),
        closed=all(mesh.closed for mesh in meshes),
    )


def load_mesh(path: Path, scale: float = 1.0, textured: bool = True) -> Mesh:
    """Read an OBJ, PLY or STL file; coordinates are multiplied by `scale`.

    textured=False leaves pictures out, and they may be missing. Raises InputError, naming the file, where it
    is missing or unreadable, has no faces, refers to vertices that are not there, holds a coordinate that is
    not finite, or names a texture that does not exist.
    """
    if path.suffix.lower() not in MESH_SUFFIXES:
        raise InputError(
            f"no mesh format that can be read ({path.suffix or 'no suffix'})",
            where=path,
            expected="OBJ, PLY or STL",
        )
    if not path.is_file():
        raise InputError("no such mesh file", where=path)
    parts = [(vertices * scale, *rest) for vertices, *rest in read_parts(path, textured)]
    return _assemble(parts, path)


def load_vertices(path: Path) -> NDArray[np.float64]:
    """Load the vertices (V, 3) of a mesh alone, in the file's unit; its textures may be missing."""
    import trimesh

    if not path.is_file():
        raise InputError("no such mesh file", where=path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mesh = trimesh.load_mesh(path, process=False, skip_materials=True)
            vertices = np.asarray(mesh.vertices, np.float64)
    except Exception as error:  # trimesh raises whatever its parsers stumble over
        raise InputError(
            f"the mesh cannot be read ({error})", where=path, expected="a valid OBJ, PLY or STL file"
        ) from error
    if not len(vertices) or not np.isfinite(vertices).all():
        raise InputError("a mesh without vertices, or not finite ones", where=path)
    return vertices


def _assemble(parts: list[tuple[Any, ...]], where: object) -> Mesh:
    """Check the parts, merge equal vertices, and compute the corner normals."""
    parts = [part for part in parts if len(part[1])]
    if not parts:
        raise InputError("the mesh has no faces", where=where, expected="at least one triangle")
    vertices, faces, uvs, owners, start = [], [], [], [], 0
    textures: list[NDArray[np.uint8]] = []
    for part_vertices, part_faces, _, uv, texture in parts:
        if part_faces.min() < 0 or part_faces.max() >= len(part_vertices):
            raise InputError(
                f"a face names vertex {int(part_faces.max())} of {len(part_vertices)}",
                where=where,
                expected=f"indices from 0 to {len(part_vertices) - 1}",
            )
        owners.append(np.full(len(part_faces), len(textures) if texture is not None else -1, np.int32))
        if texture is not None:
            textures.append(texture)
        vertices.append(part_vertices)
        faces.append(part_faces + start)
        uvs.append(np.zeros((len(part_faces), 3, 2), np.float32) if uv is None else uv)
        start += len(part_vertices)
    positions, corners = np.concatenate(vertices).astype(np.float64), np.concatenate(faces)
    if not np.isfinite(positions).all():
        row = int(np.flatnonzero(~np.isfinite(positions).all(axis=1))[0])
        raise InputError(
            f"vertex {row} is not finite: {positions[row].tolist()}", where=where, expected="finite numbers"
        )
    positions, index = np.unique(positions, axis=0, return_inverse=True)
    corners = index.reshape(-1)[corners].astype(np.int32)
    closed, inside_out = orientation(positions, corners)
    # the others cover no pixel and have no normal
    keep = np.linalg.norm(face_normals(positions, corners), axis=1) > 0
    if not keep.any():
        raise InputError("every face of the mesh has zero area", where=where)
    colors, uv = np.concatenate([part[2] for part in parts]), np.concatenate(uvs)
    for values in (corners, colors, uv):
        values[inside_out] = values[inside_out][:, [0, 2, 1]]
    return Mesh(
        vertices=positions,
        faces=corners[keep],
        normals=corner_normals(positions, corners[keep]),
        colors=colors[keep],
        uv=uv[keep],
        face_texture=np.concatenate(owners)[keep],
        textures=tuple(textures),
        closed=closed,
    )


def _factors(A: NDArray[np.float64]) -> str:
    """The factors of a linear map, for a message."""
    return " ".join(f"{value:g}" for value in np.linalg.norm(A, axis=0))
