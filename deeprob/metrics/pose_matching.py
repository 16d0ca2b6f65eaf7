"""Estimated poses against the objects of an image: who is matched with whom, and what it is worth.

As bop_toolkit does for the localisation task of the BOP challenge 2020: of each object as many estimates
count as the image has instances of it that are visible enough, the best score first; at each threshold every
estimate takes the instance with the smallest error that is below it and not yet taken. Recall is the share
of instances taken, over all objects together.

For what has no threshold (ADD, angles) each estimate takes the instance with the smallest MSSD; an instance
without an estimate counts as infinitely wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deeprob.metrics import pose
from deeprob.metrics.pose import BOP_SHARES, Floats

AXIS_STEPS = 180  # turns about a continuous symmetry: half a step moves no point by 1 % of the diameter
TRANSLATION_M, ROTATION_RAD, DIAMETER_SHARE = 0.05, np.radians(5), 0.1
SUMMED = (
    *("n", "n_with_depth", "vsd", "mssd", "mspd", "add", "add_s", "add_or_add_s"),
    *("near", "five_five", "found", "rotation_deg", "translation_m"),
)
# Errors are counted in bins too, of which a median follows: it can then be resampled as the sums are.
ROTATION_EDGES = np.concatenate([np.arange(0, 10, 0.5), np.arange(10, 30, 2), np.arange(30, 181, 10)])
TRANSLATION_EDGES_CM = np.concatenate(
    [np.arange(0, 2, 0.1), np.arange(2, 10, 1), np.arange(10, 50, 5), [50, 100, 1000]]
)
PARTS = (
    *SUMMED,
    *(f"rotation_from_{edge:g}_deg" for edge in ROTATION_EDGES[:-1]),
    *(f"translation_from_{edge:g}_cm" for edge in TRANSLATION_EDGES_CM[:-1]),
)
BOUNDED = 10  # so many metrics lie in 0..1; the rest are degrees and centimetres
METRICS = (
    *("bop_average_recall", "average_recall_vsd", "average_recall_mssd", "average_recall_mspd"),
    *("add_auc", "add_s_auc", "add_or_add_s_auc", "add_or_add_s_recall", "recall_5deg_5cm"),
    *("detected", "rotation_error_deg", "translation_error_cm"),
    *("median_rotation_error_deg", "median_translation_error_cm"),
)
EARLIER_METRICS = len(METRICS) - 2  # as many had scores that earlier versions wrote, without the bins


@dataclass(frozen=True, eq=False)
class ObjectShape:
    """What a pose error needs of an object: points float64 (P, 3), symmetries float64 (S, 4, 4), metres.

    The points are all vertices of the model, as the field's errors are defined: a choice of them gives
    another mean.
    """

    points: Floats
    symmetries: Floats

    @cached_property
    def diameter(self) -> float:
        return pose.diameter(self.points)

    @cached_property
    def hull(self) -> Floats:
        """Those points that span the convex hull: a largest distance of a rigid motion is one of theirs."""
        from scipy.spatial import ConvexHull

        return np.asarray(self.points[ConvexHull(self.points).vertices])

    @cached_property
    def tree(self) -> cKDTree:
        """All points, to find the nearest."""
        return cKDTree(self.points)


@dataclass(frozen=True, eq=False)
class Errors:
    """Of E estimates against G instances of one object in one image.

    mssd (E, G), shares of the diameter; mspd (E, G), shares of 100 r pixels, r = width / 640; vsd
    (E, G, 10) or None where the image has no depth.
    """

    mssd: Floats
    mspd: Floats
    vsd: Floats | None


def matched(errors: Floats, thresholds: Floats) -> NDArray[np.int64]:
    """Count the instances taken at each threshold: errors (E, G), the best estimate first; int64 (T,)."""
    taken = np.zeros((len(thresholds), errors.shape[1]), bool)
    rows = np.arange(len(thresholds))
    for of_estimate in errors:
        free = np.where(taken, np.inf, of_estimate[None])
        best = free.argmin(axis=1)
        taken[rows, best] |= free[rows, best] < thresholds
    return np.asarray(taken.sum(axis=1))


def assigned(errors: Floats) -> NDArray[np.int64]:
    """The estimate that takes each instance, whatever its error: errors (E, G); int64 (G,), -1 for none."""
    owner = np.full(errors.shape[1], -1)
    for number, of_estimate in enumerate(errors):
        free = np.where(owner < 0, of_estimate, np.inf)
        if np.isfinite(free).any():
            owner[int(free.argmin())] = number
    return owner


def instance_rows(
    estimates: list[Floats],
    truths: list[Floats],
    shape: ObjectShape,
    errors: Errors,
) -> tuple[Floats, NDArray[np.int64]]:
    """What each instance adds, float64 (G, len(PARTS)), and the estimate that it got, int64 (G,).

    What BOP's matching counts for the image is shared out equally: only sums over the image mean something.
    """
    count = len(truths)
    rows = np.zeros((count, len(PARTS)))
    column = {name: i for i, name in enumerate(PARTS)}
    shares = np.array(BOP_SHARES)
    rows[:, column["n"]] = 1
    rows[:, column["mssd"]] = matched(errors.mssd, shares).mean() / count
    rows[:, column["mspd"]] = matched(errors.mspd, shares).mean() / count
    if errors.vsd is not None:
        rows[:, column["n_with_depth"]] = 1
        of_taus = [matched(errors.vsd[:, :, k], shares).mean() for k in range(errors.vsd.shape[2])]
        rows[:, column["vsd"]] = np.mean(of_taus) / count
    owner = assigned(errors.mssd)
    symmetric = len(shape.symmetries) > 1
    for g in np.flatnonzero(owner >= 0):
        T_est, T_true = estimates[owner[g]], truths[g]
        add = pose.add(T_est, T_true, shape.points)
        add_s = pose.add_s(T_est, T_true, shape.points, shape.tree)
        either = add_s if symmetric else add
        angle = pose.rotation_error(T_est, T_true, shape.symmetries)
        distance = pose.translation_error(T_est, T_true)
        rows[g, column["add"] : column["found"] + 3] = [
            *(max(0.0, 1 - error / pose.MAX_AUC_M) for error in (add, add_s, either)),
            either < DIAMETER_SHARE * shape.diameter,
            angle < ROTATION_RAD and distance < TRANSLATION_M,
            *(1, np.degrees(angle), distance),
        ]
        rows[g, column["found"] + 3 :] = [
            *_bin(float(np.degrees(angle)), ROTATION_EDGES),
            *_bin(100 * distance, TRANSLATION_EDGES_CM),
        ]
    return rows, owner


def _bin(error: float, edges: Floats) -> Floats:
    """1 for the bin between two edges in which an error lies, the last one if it is beyond."""
    inside: Floats = np.zeros(len(edges) - 1)
    inside[min(int(np.searchsorted(edges, error, "right")) - 1, len(inside) - 1)] = 1
    return inside


def median_of_bins(counts: Floats, edges: Floats) -> Floats:
    """Medians (...) of what was counted (..., B) between B + 1 edges, even inside a bin; NaN of nothing."""
    reached = counts.cumsum(axis=-1)
    half = reached[..., -1:] / 2
    index = np.minimum((reached < half).sum(axis=-1, keepdims=True), counts.shape[-1] - 1)
    inside = np.take_along_axis(counts, index, -1)
    before = np.take_along_axis(reached, index, -1) - inside
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (half - before) / inside
    low, high = edges[index], edges[index + 1]
    return np.asarray((low + share * (high - low))[..., 0])


def with_bins(sums: Floats) -> Floats:
    """Sums (U, C * len(PARTS)) of sums (U, C * len(SUMMED)) that an earlier version wrote: empty bins."""
    blocks = sums.reshape(len(sums), -1, len(SUMMED))
    empty = np.zeros((*blocks.shape[:2], len(PARTS) - len(SUMMED)))
    return np.concatenate([blocks, empty], -1).reshape(len(sums), -1)


def metrics_of_sums(sums: Floats) -> Floats:
    """Metrics float64 (..., len(METRICS)) of sums (..., C * len(PARTS)), over all C objects together."""
    return _metrics(sums.reshape(*sums.shape[:-1], -1, len(PARTS)).sum(axis=-2))


def class_metrics_of_sums(sums: Floats) -> Floats:
    """The same of each object: float64 (..., C * len(METRICS)) of sums (..., C * len(PARTS))."""
    found = _metrics(sums.reshape(*sums.shape[:-1], -1, len(PARTS)))
    return found.reshape(*sums.shape[:-1], -1)


def _metrics(total: Floats) -> Floats:
    part = {name: total[..., i] for i, name in enumerate(SUMMED)}
    with np.errstate(invalid="ignore", divide="ignore"):
        vsd = part["vsd"] / part["n_with_depth"]
        mssd, mspd = part["mssd"] / part["n"], part["mspd"] / part["n"]
        values = [(vsd + mssd + mspd) / 3, vsd, mssd, mspd]
        values += [
            part[name] / part["n"] for name in ("add", "add_s", "add_or_add_s", "near", "five_five", "found")
        ]
        values += [part["rotation_deg"] / part["found"], 100 * part["translation_m"] / part["found"]]
    turns = len(SUMMED) + len(ROTATION_EDGES) - 1
    values += [
        median_of_bins(total[..., len(SUMMED) : turns], ROTATION_EDGES),
        median_of_bins(total[..., turns:], TRANSLATION_EDGES_CM),
    ]
    return np.stack(values, axis=-1)
