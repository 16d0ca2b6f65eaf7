"""Errors of object poses, and the recalls and areas that summarise them.

T_est, T_true: float64 (4, 4), map object points to the camera, metres. points: float64 (P, 3), the object's
model points. symmetries: float64 (S, 4, 4), the rigid motions that leave the object as it is, the identity
among them.

    ADD, ADD-S   Hinterstoisser et al., Model based training, detection and pose estimation of texture-less 3D
                 objects, ACCV 2012; their AUC from 0 to 10 cm: Xiang et al., PoseCNN, RSS 2018
    MSSD, MSPD, VSD and the average recall   Hodan et al., BOP challenge 2020, ECCV workshops 2020, section
    2.2
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deeprob.errors import InputError

Floats = NDArray[np.float64]
IDENTITY: Floats = np.eye(4)[None]
BOP_SHARES = tuple(k / 20 for k in range(1, 11))  # 5 % to 50 %, of the diameter or of the visible surface
MAX_AUC_M = 0.10


def add(T_est: Floats, T_true: Floats, points: Floats) -> float:
    """Mean distance in metres between corresponding points."""
    return float(np.linalg.norm(_moved(T_est, points) - _moved(T_true, points), axis=1).mean())


def add_s(T_est: Floats, T_true: Floats, points: Floats, tree: cKDTree | None = None) -> float:
    """Mean distance in metres from each point in its true place to the nearest one in its estimated place.

    tree: of the points, where there is one: the distances are taken in the estimate's own frame.
    """
    distances, _ = (tree or cKDTree(points)).query(_moved(np.linalg.inv(T_est) @ T_true, points))
    return float(np.mean(distances))


def rotation_error(T_est: Floats, T_true: Floats, symmetries: Floats = IDENTITY) -> float:
    """Angle in radians of the rotation between the poses, the smallest over the symmetries."""
    relative = T_est[:3, :3].T @ (T_true[:3, :3] @ symmetries[:, :3, :3])
    # atan2 of sine and cosine: exact for small angles, where the arc cosine loses half the digits
    skew = relative - relative.transpose(0, 2, 1)
    sine = np.linalg.norm(np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], 1), axis=1) / 2
    cosine = (np.trace(relative, axis1=1, axis2=2) - 1) / 2
    return float(np.arctan2(sine, cosine).min())


def translation_error(T_est: Floats, T_true: Floats) -> float:
    """Distance in metres between the object origins."""
    return float(np.linalg.norm(T_est[:3, 3] - T_true[:3, 3]))


def mssd(T_est: Floats, T_true: Floats, points: Floats, symmetries: Floats = IDENTITY) -> float:
    """Maximum symmetry-aware surface distance in metres: the largest point error, least over symmetries."""
    estimated = _moved(T_est, points)
    return min(_largest(estimated - _moved(T_true @ symmetry, points)) for symmetry in symmetries)


def mspd(T_est: Floats, T_true: Floats, points: Floats, K: Floats, symmetries: Floats = IDENTITY) -> float:
    """Maximum symmetry-aware projection distance in pixels. K: float64 (3, 3). Infinite behind the camera."""
    estimated = _projected(T_est, points, K)
    return min(_largest(estimated - _projected(T_true @ symmetry, points, K)) for symmetry in symmetries)


def vsd(
    depth_est: NDArray[np.floating],
    depth_true: NDArray[np.floating],
    depth_seen: NDArray[np.floating],
    K: Floats,
    diameter: float,
    taus: tuple[float, ...] = BOP_SHARES,
    delta: float = 0.015,
) -> Floats:
    """Visible surface discrepancy float64 (len(taus),), 0..1: the share of visible pixels that disagree.

    depth_est, depth_true: (H, W) metres, the model rendered in both poses, 0 where it is not; depth_seen: the
    camera's reading, 0 where there is none. taus: tolerances as shares of the diameter; delta: metres.
    1 where nothing is visible in either.
    """
    distance = [_ray_length(depth, K) for depth in (depth_est, depth_true, depth_seen)]
    estimated, true, seen = distance
    visible_true = _visible(true, seen, delta)
    visible = _visible(estimated, seen, delta) | ((estimated > 0) & visible_true)
    both, either = visible & visible_true, visible | visible_true
    if not either.any():
        return np.ones(len(taus))
    apart = np.abs(estimated[both] - true[both])
    wrong = np.array([(apart >= tau * diameter).sum() for tau in taus], dtype=np.float64)
    return np.asarray((wrong + either.sum() - both.sum()) / either.sum())


def diameter(points: Floats) -> float:
    """Largest distance in metres between two points, found on their convex hull."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    return float(pdist(points[ConvexHull(points).vertices]).max())


def area_under_recall(errors: Floats, largest: float = MAX_AUC_M) -> float:
    """Area under the recall over thresholds 0..largest, over `largest`; NaN without errors.

    The recall is a step function, so the area is exactly the mean of max(0, 1 - error / largest).
    """
    _check(errors)
    return float(np.maximum(0.0, 1 - errors / largest).mean()) if errors.size else float("nan")


def recall(errors: Floats, thresholds: Floats) -> Floats:
    """Share of errors (N,) below each threshold (M,), float64 (M,)."""
    _check(errors)
    below = errors[:, None] < np.asarray(thresholds)[None, :]
    return below.mean(axis=0) if errors.size else np.full(len(thresholds), np.nan)


def average_recall(errors: Floats, scale: Floats | float) -> float:
    """BOP's average recall of MSSD or MSPD: mean recall over the thresholds 5 % to 50 % of `scale`.

    errors: (N,); scale: the objects' diameters (N,) in metres for MSSD; for MSPD 100 r pixels with
    r = image width / 640, so that the thresholds are 5 r to 50 r.
    """
    return float(np.mean(recall(errors / np.asarray(scale), np.array(BOP_SHARES))))


def average_recall_vsd(errors: Floats) -> float:
    """BOP's average recall of VSD: errors (N, taus), mean recall over all tolerances and thresholds."""
    return float(np.mean([recall(errors[:, i], np.array(BOP_SHARES)) for i in range(errors.shape[1])]))


def _moved(T: Floats, points: Floats) -> Floats:
    return points @ T[:3, :3].T + T[:3, 3]


def _projected(T: Floats, points: Floats, K: Floats) -> Floats:
    """Pixels (P, 2) of the points."""
    image = _moved(T, points) @ K.T
    if (image[:, 2] <= 0).any():
        return np.full((len(points), 2), np.nan)
    return np.asarray(image[:, :2] / image[:, 2:])


def _largest(differences: Floats) -> float:
    """Length of the longest of (P, k); infinite where a projection is not defined."""
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(np.linalg.norm(differences, axis=1), nan=np.inf).max())


def _ray_length(depth: NDArray[np.floating], K: Floats) -> Floats:
    """Distance in metres from the camera centre, (H, W), of depth along the optical axis."""
    rows, columns = np.indices(depth.shape)
    x, y = (columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1]
    return np.asarray(depth * np.sqrt(x**2 + y**2 + 1), dtype=np.float64)


def _visible(distance: Floats, seen: Floats, delta: float) -> NDArray[np.bool_]:
    """Pixels of a rendering not hidden behind what the camera saw; without a reading nothing hides them."""
    return np.asarray((distance > 0) & ((seen == 0) | (distance <= seen + delta)))


def _check(errors: Floats) -> None:
    if np.isnan(errors).any() or (errors < 0).any():
        raise InputError("a pose error that is NaN or negative", where="pose metrics", expected="0 or more")
