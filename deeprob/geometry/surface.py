"""What a triangle surface tells of itself: face normals, which side is out, and smooth normals at corners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CREASE_DEGREES = 40.0  # faces that meet at a sharper angle keep an edge in the shading


def face_normals(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """Normals (F, 3) of faces (F, 3) over vertices (V, 3), each twice the face's area long."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.asarray(np.cross(b - a, c - a))


def orientation(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> tuple[bool, NDArray[np.bool_]]:
    """Whether a surface is closed with consistent winding, and which faces (F,) are wound inside out.

    Each piece counts by itself, by the sign of the volume that it encloses: a file may hold a part and its
    mirror image. A cavity is turned too, which nobody sees. Of an open surface no side is known to be out.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    forward, backward = (edges @ [len(vertices), 1], edges @ [1, len(vertices)])
    if not np.array_equal(np.sort(forward), np.sort(backward)):
        return False, np.zeros(len(faces), bool)
    piece = _pieces(edges, len(vertices))[faces[:, 0]]
    volume = np.bincount(piece, np.einsum("ij,ij->i", vertices[faces[:, 0]], face_normals(vertices, faces)))
    return True, (volume < 0)[piece]


def _pieces(edges: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Number the connected pieces: int64 (count,), the piece of each vertex."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def corner_normals(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """Unit normals (F, 3, 3): at each corner the mean of the adjoining faces that make no crease with it."""
    weighted = face_normals(vertices, faces)
    unit = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
    owner = np.repeat(np.arange(len(faces)), 3)
    corner = faces.reshape(-1)
    order = np.argsort(corner, kind="stable")
    start = np.searchsorted(corner[order], np.arange(len(vertices) + 1))
    valence = np.diff(start)
    # every pair (corner, face at the same vertex): for each corner, the run of faces that share its vertex
    repeat = valence[corner]
    left = np.repeat(np.arange(len(corner)), repeat)
    step = np.arange(repeat.sum()) - np.repeat(np.cumsum(repeat) - repeat, repeat)
    right = owner[order[np.repeat(start[corner], repeat) + step]]
    smooth = np.einsum("ij,ij->i", unit[owner[left]], unit[right]) > np.cos(np.radians(CREASE_DEGREES))
    total = np.empty((len(corner), 3))
    for axis in range(3):
        total[:, axis] = np.bincount(left[smooth], weighted[right[smooth], axis], minlength=len(corner))
    total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-30)
    return total.reshape(-1, 3, 3).astype(np.float32)
