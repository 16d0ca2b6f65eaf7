"""The normal equations of a picture, by loops over its pixels: the same numbers as normal.py's formula."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.geometry.raster import draw_faces, make_buffers
from deeprob.layers.kernels import descent, loops
from deeprob.layers.kernels import render as kernels
from deeprob.layers.render.rasterize import NEAR
from deeprob.models.pose import by_render
from deeprob.models.pose.by_render import WEIGHTS, Drawn, Normal, Seen

Floats = NDArray[np.float64]
NO_MASK = np.zeros((0, 0), np.float32)


class NormalLoops:
    """What is seen of an object, and memory for drawing it. aim: (H, W), of `normal.aim_of`."""

    def __init__(self, seen: Seen, drawn: Drawn, aim: NDArray[np.float32] | None) -> None:
        H, W = seen.size
        V, F = len(drawn.vertices), len(drawn.faces)
        self.drawn, self.aim = drawn, aim
        self.X, self.faces, self.edges = _wide(drawn.vertices), drawn.faces.numpy(), drawn.edges.numpy()
        self.few = kernels.as_faces(drawn.faces)
        self.K = _wide(seen.K)
        self.area = 1.0 if seen.mask is None else max(float(seen.mask.nan_to_num().sum()), 1.0)
        self.back = np.linalg.inv(self.K)
        self.mask, self.depth = (None if x is None else x.numpy() for x in (seen.mask, seen.depth))
        self.buffers = make_buffers(H, W, 1, 0, F)
        self.camera, self.points, self.homogeneous = np.empty((V, 3)), np.empty((1, V, 3)), np.empty((5, V))
        self.visible, self.plane = np.empty((1, H, W), np.int64), np.zeros((H, W, 8))
        self.hidden, self.m, self.slot = np.zeros((H, W), bool), np.empty((H, W)), np.full((H, W), -1)
        self.crossings, self.shares = np.empty((1, 2 * H * W, 4), np.int64), np.empty((1, 2 * H * W))
        self.rows, self.counts = np.empty((2 * H * W, 6)), np.zeros(1, np.int64)
        self.y, self.goal = np.zeros((H, W, 3)), np.zeros((H, W, 3))
        self.pictures = [p for p in self._pictures(seen) if p is not None]

    def __call__(self, T: Floats) -> Normal:
        """The `Normal` of a pose of the middle, float64 (4, 4)."""
        self._draw(T)
        visible, place = self.visible[0], T[:3, 3].copy()
        self.loss, self.N, self.g = 0.0, np.zeros((6, 6)), np.zeros(6)
        if not (visible >= 0).any():
            return Normal(float("inf"), self.N, self.g)
        loops.run(descent.planes, 1, self.camera, self.faces, visible, self.back, self.plane)
        self.hidden[:] = False
        if self.depth is not None:
            self._depth(visible, place)
        if self.mask is not None:
            self._mask(visible, place)
        for picture in self.pictures:
            self._attribute(visible, place, *picture)
        scale = np.array([self.drawn.diameter] * 3 + [1.0] * 3)
        N = np.triu(self.N) + np.triu(self.N, 1).T
        return Normal(self.loss, N * scale * scale[:, None], self.g * scale)

    def _draw(self, T: Floats) -> None:
        loops.run(descent.project, 1, self.X, T, self.K, self.camera, self.points, self.homogeneous)
        self.buffers.inverse_depth[:] = 0.0
        kernels.draw(draw_faces, self.homogeneous, self.few, NEAR, self.drawn.closed, self.buffers)
        self.visible[0] = np.where(self.buffers.inverse_depth > 0, self.buffers.face, -1)

    def _depth(self, visible: Any, place: Floats) -> None:
        sums, N, g = np.zeros(2), np.zeros((6, 6)), np.zeros(6)
        limit = by_render.HIDING * self.drawn.diameter
        mask = NO_MASK if self.mask is None else self.mask
        given = (visible, self.plane, place, self.depth, mask, limit, by_render.BETA_M)
        loops.run(descent.depth_term, 1, *given, self.hidden, sums, N, g)
        self._count(WEIGHTS["depth"] / self.drawn.diameter / max(sums[1], 1.0), sums, N, g)

    def _mask(self, visible: Any, place: Floats) -> None:
        sums, N, g = np.zeros(2), np.zeros((6, 6)), np.zeros(6)
        self.counts[:] = 0
        given = (self.points, self.edges, self.faces, self.visible, NEAR)
        loops.run(kernels.cross, 1, *given, self.crossings, self.shares, self.counts)
        silhouette = (self.crossings[0], self.shares[0], int(self.counts[0]), self.mask, self.aim)
        memory = (self.hidden, self.m, self.slot, self.rows)
        geometry = (visible, self.points, self.camera, self.K, place)
        loops.run(descent.mask_term, 1, *geometry, *silhouette, *memory, sums, N, g)
        self._count(2 * WEIGHTS["mask"] / self.area, sums, N, g)

    def _pictures(self, seen: Seen) -> Any:
        """Of colours and points: the faces' corners, what is seen, where known, beta, weight, and if lit."""
        on = np.ones(seen.size, bool) if seen.mask is None else _wide(seen.mask) > 0.5
        d = self.drawn.diameter
        if seen.rgb is not None and self.drawn.colors is not None:
            rgb, weight = _wide(seen.rgb), WEIGHTS["rgb"] / 3
            known = on & ~np.isnan(rgb).any(-1)
            yield _wide(self.drawn.colors), np.nan_to_num(rgb), known, by_render.BETA_COLOUR, weight, True
        if seen.points is not None:
            points, beta, weight = _wide(seen.points), by_render.BETA_POINTS * d, WEIGHTS["points"] / 3 / d
            yield self.X[self.faces], points, on & ~np.isnan(points).any(-1), beta, weight, False

    def _attribute(
        self,
        visible: Any,
        place: Floats,
        a: Any,
        seen: Any,
        known: Any,
        beta: float,
        weight: float,
        lit: bool,
    ) -> None:
        sums, N, g = np.zeros(2), np.zeros((6, 6)), np.zeros(6)
        on = known & (visible >= 0) & ~self.hidden
        surface = (a, self.camera, self.faces, visible, self.plane)
        loops.run(descent.attributes, 1, *surface, self.y)
        goal = self.goal if lit else seen
        if lit:
            limits = (by_render.LEAST_SPREAD, by_render.LEAST_GAIN, by_render.LARGEST_GAIN)
            loops.run(descent.light, 1, self.y, on, seen, *limits, goal)
        loops.run(descent.attribute_term, 1, *surface, place, on, self.y, goal, beta, sums, N, g)
        self._count(weight / max(float(on.sum()), 1.0), sums, N, g)

    def _count(self, weight: float, sums: Floats, N: Floats, g: Floats) -> None:
        self.loss += weight * float(sums[0])
        self.N += weight * N
        self.g += weight * g


def _wide(x: Any) -> Floats:
    return np.asarray(x.numpy(), np.float64)
