"""Depth images of single objects, for whoever compares a pose with what a camera saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deeprob.geometry.kernel import F32, F64
from deeprob.geometry.mesh import Mesh
from deeprob.geometry.raster import Buffers, make_buffers, rasterize
from deeprob.sim.library import pack

NEAR = 0.01  # metres; what is nearer to the camera is not drawn


class DepthRenderer:
    """Draws one of `meshes` at a time, by the rasteriser of the simulator."""

    def __init__(self, meshes: Sequence[Mesh]) -> None:
        self._meshes = pack(meshes)
        self._room = max(len(mesh.vertices) for mesh in meshes), max(len(mesh.faces) for mesh in meshes)
        self._buffers: Buffers | None = None

    def __call__(self, model: int, T_cam_obj: F64, K: F64, size: tuple[int, int]) -> F32:
        """Depth float32 (H, W) in metres of mesh number `model`, 0 where it is not.

        T_cam_obj: float64 (4, 4). K: float64 (3, 3), an integer pixel is its centre. size: (H, W).
        """
        if self._buffers is None or self._buffers.owner.shape != size:
            self._buffers = make_buffers(*size, 1, *self._room)
        P = np.ascontiguousarray(K @ T_cam_obj[:3])[None]
        rasterize(self._meshes, np.array([model]), P, NEAR, 1, self._buffers)
        inverse = self._buffers.inverse_depth
        depth = np.zeros_like(inverse)
        np.divide(1, inverse, out=depth, where=inverse > 0)
        return depth
