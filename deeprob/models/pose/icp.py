"""The last millimetres: an object's surface laid on what the depth image shows of it.

    q_i = R^T (s_i - t)                                        a reading s_i in the object's frame
    p_i, n_i   the surface's point nearest to q_i, its normal
    least sum of (n_i . (p_i - q_i - w x q_i - v))^2           over a small turn w and shift v; repeated

The readings farthest off do not count: they are of something else. Source: Chen and Medioni, Object modelling
by registration of multiple range images (1992).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]

ROUNDS = 10
NEIGHBOURS = 8  # of a point, that its normal is made of
COUNTED = 0.8  # of the readings, the nearest ones
FARTHEST = 0.15  # of the diameter, that a reading may be off
LARGEST_TURN = 0.3  # radians of one round


@dataclass(frozen=True, eq=False)
class Surface:
    """Points (P, 3) of an object's surface, metres. diameter: metres."""

    points: Floats
    diameter: float

    @cached_property
    def tree(self) -> cKDTree:
        return cKDTree(self.points)

    @cached_property
    def normals(self) -> Floats:
        """Unit normals (P, 3) of either sign: across the plane through a point's neighbours."""
        _, near = self.tree.query(self.points, NEIGHBOURS)
        apart = self.points[near] - self.points[near].mean(1, keepdims=True)
        _, _, Vt = np.linalg.svd(apart)
        return np.asarray(Vt[:, 2])


def refined(T: Floats, seen: Floats, surface: Surface) -> Floats:
    """The pose (4, 4) after ICP on readings seen (N, 3), metres; T itself where that lays them no nearer."""
    best, least = T, _misfit(T, seen, surface)
    R, t = T[:3, :3], T[:3, 3]
    for _ in range(ROUNDS):
        q = (seen - t) @ R
        distance, index = surface.tree.query(q)
        limit = min(float(np.quantile(distance, COUNTED)), FARTHEST * surface.diameter)
        kept = distance <= limit
        if kept.sum() < 6:
            break
        p, n, q = surface.points[index[kept]], surface.normals[index[kept]], q[kept]
        A = np.concatenate([np.cross(q, n), n], 1)
        step = np.linalg.lstsq(A, ((p - q) * n).sum(1), rcond=1e-4)[0]
        step *= min(1.0, LARGEST_TURN / max(float(np.linalg.norm(step[:3])), 1e-12))
        E = Rotation.from_rotvec(step[:3]).as_matrix()
        R = R @ E.T
        t = t - R @ step[3:]
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = R, t
    better = np.isfinite(found).all() and found[2, 3] > 0 and _misfit(found, seen, surface) < least
    return found if better else best


def _misfit(T: Floats, seen: Floats, surface: Surface) -> float:
    """Mean distance in metres of the readings that count from the surface, along its normals."""
    q = (seen - T[:3, 3]) @ T[:3, :3]
    distance, index = surface.tree.query(q)
    across = np.abs(((surface.points[index] - q) * surface.normals[index]).sum(1))
    across = across[distance <= np.quantile(distance, COUNTED)]
    return float(across.mean())
