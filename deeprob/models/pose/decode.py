"""From what a network says of a crop's cells to a pose.

    direct    rotation and translation of the head
    pnp       rotation from the cells' points and pixels (EPnP in RANSAC, refined on its inliers); the
              distance from the head, since a pose from pixels alone is worst along the ray
    depth     rotation and translation that lay the cells' points on the camera's readings (Kabsch in RANSAC)
    icp       the same, then the whole surface laid on the readings (icp.py)
    render    depth, or `pnp` without it; then the object is drawn, and moved until its mask, points and depth
              are most like the cells' (by_cells.py)
    render_rgb    `render` from the colours alone, also where there is depth

A decode that cannot answer gives way to the one before it: icp or render, depth, pnp, direct. None gives NaN.
Sources: Lepetit et al., EPnP (2009); Kabsch, A solution for the best rotation to relate two sets of vectors
(1976); Fischler and Bolles, RANSAC (1981).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.models.pose.icp import Surface, refined

Floats = NDArray[np.float64]

RENDERED, WITHOUT_DEPTH = "render", "render_rgb"
DECODES = ("direct", "pnp", WITHOUT_DEPTH, "depth", "icp", RENDERED)
FEWEST = 8  # cells that a pose is made of
NEAREST_M, FARTHEST_M = 0.05, 20.0
TRIALS = 100  # of RANSAC
PIXELS = 1.0  # an inlier's distance, in cells
INLIER = 0.08  # the same in space, in diameters


class Cells(NamedTuple):
    """What the cells on one object say. N of them.

    points: (N, 3) metres, the object's own frame. pixels: (N, 2) of the crop. seen: (N, 3) metres, what the
    depth image shows there in the camera's frame; NaN without a reading. weight: (N,), how sure each is that
    it is on the object. K: (3, 3) of the crop. cell: side of a cell in pixels. diameter: metres.
    """

    points: Floats
    pixels: Floats
    seen: Floats
    weight: Floats
    K: Floats
    cell: float
    diameter: float


def solve(
    cells: Cells, direct: Floats, decode: str, surface: Surface | None = None, seed: int = 0
) -> tuple[Floats, float]:
    """The pose (4, 4) of one object, and the share of its cells that agree with it (1 for `direct`).

    direct: (4, 4), the head's pose. surface: of the object, for `icp`.
    """
    if decode in ("depth", "icp", RENDERED):
        found = by_depth(cells, seed)
        if found is not None and decode == "icp" and surface is not None:
            seen = cells.seen[np.isfinite(cells.seen).all(1)]
            return refined(found[0], seen, surface), found[1]
        if found is not None:
            return found
    if decode != "direct":
        found = by_pixels(cells, direct, seed)
        if found is not None:
            return found
    return direct, 1.0


def by_pixels(cells: Cells, direct: Floats, seed: int = 0) -> tuple[Floats, float] | None:
    """A pose by points and pixels, None where there are too few or they agree on nothing possible."""
    if len(cells.points) < FEWEST:
        return None
    cv2.setRNGSeed(seed)
    points, pixels = np.ascontiguousarray(cells.points), np.ascontiguousarray(cells.pixels)
    try:
        done, turn, t, inliers = cv2.solvePnPRansac(
            *(points, pixels, cells.K, None),
            iterationsCount=TRIALS,
            reprojectionError=PIXELS * cells.cell,
            flags=_solver(points, cells.diameter),
        )
        if not done or inliers is None or len(inliers) < FEWEST - 2:
            return None
        kept = inliers[:, 0]
        turn, t = cv2.solvePnPRefineLM(points[kept], pixels[kept], cells.K, None, turn, t)
    except cv2.error:
        return None
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(turn)[0], t[:, 0]
    if not (np.isfinite(T).all() and NEAREST_M < T[2, 3] < FARTHEST_M):
        return None
    T[:3, 3] *= direct[2, 3] / T[2, 3]
    return T, len(kept) / len(points)


def by_depth(cells: Cells, seed: int = 0) -> tuple[Floats, float] | None:
    """A pose by points and depth readings, None where there are too few or they agree on nothing."""
    known = np.isfinite(cells.seen).all(1)
    if known.sum() < FEWEST:
        return None
    points, seen = cells.points[known], cells.seen[known]
    rng, limit = np.random.default_rng(seed), INLIER * cells.diameter
    drawn = rng.integers(0, len(points), (TRIALS, 4))
    R, t = kabsch(points[drawn], seen[drawn])
    apart = np.linalg.norm(points @ R.transpose(0, 2, 1) + t[:, None] - seen, axis=2)
    worth = np.minimum(apart, limit).sum(1)
    best = int(worth.argmin())
    inside = apart[best] < limit
    for _ in range(3):
        if inside.sum() < FEWEST - 2:
            return None
        R1, t1 = kabsch(points[inside][None], seen[inside][None])
        inside = np.linalg.norm(points @ R1[0].T + t1[0] - seen, axis=1) < limit
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R1[0], t1[0]
    if not (np.isfinite(T).all() and NEAREST_M < T[2, 3] < FARTHEST_M):
        return None
    return T, float(inside.mean())


def kabsch(points: Floats, seen: Floats) -> tuple[Floats, Floats]:
    """Rotations (B, 3, 3) and translations (B, 3) that lay points (B, N, 3) nearest to seen (B, N, 3)."""
    middle, there = points.mean(1, keepdims=True), seen.mean(1, keepdims=True)
    U, _, Vt = np.linalg.svd((seen - there).transpose(0, 2, 1) @ (points - middle))
    U[:, :, 2] *= np.linalg.det(U @ Vt)[:, None]  # no mirror image
    R = U @ Vt
    return R, there[:, 0] - (R @ middle.transpose(0, 2, 1))[:, :, 0]


def _solver(points: Floats, diameter: float) -> int:
    """EPnP, or SQPnP where the points lie almost in a plane, which EPnP is wrong about."""
    spread = np.linalg.svd(points - points.mean(0), compute_uv=False)
    flat = spread[2] / np.sqrt(len(points)) < 0.02 * diameter
    return int(cv2.SOLVEPNP_SQPNP if flat else cv2.SOLVEPNP_EPNP)
