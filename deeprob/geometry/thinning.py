"""Meshes of fewer faces: what a scan has beyond what a picture shows costs time at every picture.

Vertices that lie in one cell of a grid become one of them, and faces that this makes flat are gone (Rossignac
and Borrel, Multi-resolution 3D approximations for rendering complex scenes, 1993). Each face that is left is
coloured as the face of the scan that lay where it lies: its texture's coordinates go on linearly over the
larger face.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deeprob.geometry.mesh import Mesh
from deeprob.geometry.surface import corner_normals, orientation

HALVINGS = 14  # of the interval in which the grid's cell is searched
STRETCH = 4.0  # that a texture's triangle goes on beyond itself, in its own sides


def thinned(mesh: Mesh, max_faces: int) -> Mesh:
    """The mesh with at most `max_faces` faces; the same one where it has no more."""
    if len(mesh.faces) <= max_faces:
        return mesh
    low, high = 0.0, float(mesh.extents.max())
    vertices, faces = mesh.vertices, mesh.faces[:0]
    for _ in range(HALVINGS):
        cell = (low + high) / 2
        found = _clustered(mesh, cell)
        if len(found[1]) > max_faces:
            low = cell
        else:
            high, (vertices, faces) = cell, found
    closed, inside_out = orientation(vertices, faces)
    faces = faces.copy()
    faces[inside_out] = faces[inside_out][:, [0, 2, 1]]
    corners = vertices[faces]
    _, source = cKDTree(mesh.vertices[mesh.faces].mean(1)).query(corners.mean(1))
    share = _shares(mesh.vertices[mesh.faces[source]], corners)
    return replace(
        mesh,
        vertices=vertices,
        faces=faces,
        normals=corner_normals(vertices, faces),
        colors=(share @ mesh.colors[source]).clip(0, 1).astype(np.float32),
        uv=(share @ mesh.uv[source]).astype(np.float32),
        face_texture=mesh.face_texture[source],
        closed=closed,
    )


def _clustered(mesh: Mesh, cell: float) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Vertices and faces where all vertices of a cell are the one farthest from the middle: rims stay."""
    grid = np.floor((mesh.vertices - mesh.vertices.min(0)) / cell).astype(np.int64)
    _, owner = np.unique(grid, axis=0, return_inverse=True)
    owner = owner.reshape(-1)
    order = np.lexsort((-np.linalg.norm(mesh.vertices - mesh.centre, axis=1), owner))
    kept = order[np.searchsorted(owner[order], np.arange(owner.max() + 1))]
    faces = owner[mesh.faces]
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(1)]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    faces = faces[np.sort(first)]
    vertices = mesh.vertices[kept]
    area = np.linalg.norm(np.cross(*(vertices[faces[:, k]] - vertices[faces[:, 0]] for k in (1, 2))), axis=1)
    faces = faces[area > 0]
    used, index = np.unique(faces, return_inverse=True)
    return vertices[used], index.reshape(-1, 3).astype(np.int32)


def _shares(triangles: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Barycentric coordinates (F, 3, 3) of points (F, 3, 3) in triangles (F, 3, 3), in their planes."""
    origin, u, v = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    basis = np.stack([u, v], -1)
    inverse = np.linalg.pinv(basis, rcond=1e-3)
    uv = ((points - origin[:, None]) @ inverse.transpose(0, 2, 1)).clip(-STRETCH, STRETCH)
    return np.concatenate([1 - uv.sum(-1, keepdims=True), uv], -1)
