"""All objects of a data set packed into flat arrays for the rasteriser."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deeprob.geometry.kernel import F32, I64, U8
from deeprob.geometry.mesh import Mesh
from deeprob.geometry.raster import Meshes
from deeprob.sim.object_model import ObjectModel
from deeprob.sim.shadow import pack_casters
from deeprob.sim.textures import LEVELS, flatten

TEXTURE_LIMIT = 512  # texels a side


class Library:
    """The objects, packed: color (M, 3), radius, vertex_count, face_count, textured (M,), table (2,)."""

    def __init__(self, objects: Sequence[ObjectModel], table: Sequence[float]) -> None:
        meshes = [model.mesh for model in objects]
        self.objects = tuple(objects)
        self.table = np.asarray(table, np.float64)
        self.radius = np.array([model.radius for model in objects])
        self.vertex_count = np.array([len(mesh.vertices) for mesh in meshes])
        self.face_count = np.array([len(mesh.faces) for mesh in meshes])
        self.color = np.stack(
            [np.maximum(mesh.colors.reshape(-1, 3).mean(axis=0, dtype=np.float64), 0.05) for mesh in meshes]
        )
        self.textured = np.array([bool((mesh.face_texture >= 0).any()) for mesh in meshes])
        self.meshes = pack(meshes)
        self.casters = pack_casters(meshes)


def _starts(counts: list[int]) -> I64:
    return np.cumsum([0, *counts], dtype=np.int64)


def pack(meshes: Sequence[Mesh]) -> Meshes:
    """Lay meshes one after the other in flat arrays; model m of the result is meshes[m]."""
    textures: list[U8] = []
    first = []
    for mesh in meshes:
        first.append(len(textures))
        textures.extend(_power_of_two(texture) for texture in mesh.textures)
    texels, mips = flatten(textures, LEVELS)
    texture = [
        np.where(m.face_texture < 0, -1, m.face_texture + n) for m, n in zip(meshes, first, strict=True)
    ]
    return Meshes(
        vertices=np.ascontiguousarray(np.concatenate([mesh.vertices for mesh in meshes]).T),
        faces=np.concatenate([mesh.faces for mesh in meshes]),
        normals=np.concatenate([mesh.normals for mesh in meshes]),
        colors=np.concatenate([mesh.colors for mesh in meshes]),
        uv=np.concatenate([mesh.uv for mesh in meshes]),
        texture=np.concatenate(texture).astype(np.int32),
        texel_density=np.concatenate([_density(m, t, mips) for m, t in zip(meshes, texture, strict=True)]),
        vertex_start=_starts([len(mesh.vertices) for mesh in meshes]),
        face_start=_starts([len(mesh.faces) for mesh in meshes]),
        cull=np.array([mesh.closed for mesh in meshes]),
        texels=texels,
        mips=mips,
    )


def _power_of_two(texture: U8) -> U8:
    """The texture at the nearest powers of two, so that every halving is exact."""
    import cv2

    height, width = (min(TEXTURE_LIMIT, 1 << round(float(np.log2(side)))) for side in texture.shape[:2])
    if (height, width) == texture.shape[:2]:
        return texture
    return np.asarray(cv2.resize(texture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _density(mesh: Mesh, texture: I64, mips: I64) -> F32:
    """Texels a metre on each face: the root of its area in texels over its area."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    side = mips[np.maximum(texture, 0), 0][:, [2, 1]]
    (su, sv), (tu, tv) = ((mesh.uv[:, k] - mesh.uv[:, 0]).T * side.T for k in (1, 2))
    return np.asarray(np.sqrt(np.abs(su * tv - sv * tu) / area), np.float32)
