"""Detections above a score: precision, recall, false positives an image; and how far scores can be believed.

A detection is right where it finds an object at an IoU of 0.5, as COCO matches them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from deeprob.metrics.classification import NUM_BINS
from deeprob.metrics.detection_matches import Floats, Integers, Matches
from deeprob.metrics.statistics import sums_by_unit

METRICS = ("precision", "recall", "f1", "false_positives_per_image")


class Curve(NamedTuple):
    """Over the K distinct scores, falling: what holds of the detections with at least that score, (K,)."""

    score: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    false_positives_per_image: Floats

    def best_f1(self) -> int | None:
        """The highest score with the largest F1; None where nothing is found."""
        return int(np.argmax(self.f1)) if len(self.f1) and self.f1.max() > 0 else None

    def best_f1_score(self) -> float:
        """The score of the best F1; infinite where nothing is found."""
        best = self.best_f1()
        return float("inf") if best is None else float(self.score[best])

    def at_recall(self, recall: float) -> int | None:
        """The highest score that reaches a recall; None where no score does."""
        reached = np.flatnonzero(self.recall >= recall)
        return int(reached[0]) if len(reached) else None


def curve_of(matches: Matches, class_id: int | None = None) -> Curve:
    """The curve of one class, or of all together (None). Recall is NaN without an object."""
    mine = np.ones(len(matches.scores), bool) if class_id is None else matches.classes == class_id
    objects = matches.object_classes
    positives = len(objects) if class_id is None else int((objects == class_id).sum())
    scores, hit = matches.scores[mine], matches.hit[mine]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, int)
    right, said = np.cumsum(hit)[last], last + 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = right / np.float64(positives)
    wrong = (said - right) / max(matches.num_images, 1)
    return Curve(scores[last], right / said, recall, 2 * right / (said + positives), wrong)


def sums_at(matches: Matches, units: Integers, thresholds: Floats, class_id: int | None) -> Floats:
    """Right detections, detections, objects and images of each unit, (K, U, 4), with at least a score.

    units: int64 (I,), of each image. thresholds: (K,).
    """
    mine = np.ones(len(matches.scores), bool) if class_id is None else matches.classes == class_id
    theirs = np.ones(len(matches.object_classes), bool)
    if class_id is not None:
        theirs = matches.object_classes == class_id
    count = int(units.max(initial=-1)) + 1
    images = np.bincount(units, minlength=count)
    objects = np.bincount(units[matches.object_images[theirs]], minlength=count)
    found = []
    for threshold in thresholds:
        above = mine & (matches.scores >= threshold)
        said, right = (
            np.bincount(units[matches.images[rows]], minlength=count) for rows in (above, above & matches.hit)
        )
        found.append(np.stack([right, said, objects, images], axis=-1))
    return np.array(found, np.float64).reshape(-1, count, 4)


def metrics_of_sums(sums: Floats) -> Floats:
    """METRICS float64 (..., 4) of sums (..., 4)."""
    right, said, objects, images = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack(
            [right / said, right / objects, 2 * right / (said + objects), (said - right) / images], axis=-1
        )


def calibration_sums(matches: Matches, units: Integers) -> scipy.sparse.csr_array | None:
    """What `expected_calibration_error` takes, (U, 3 NUM_BINS); None where a score is no probability."""
    scores = matches.scores
    if len(scores) == 0 or scores.min() < 0 or scores.max() > 1:
        return None
    bins = np.clip(np.ceil(scores * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    rows = np.tile(np.arange(len(bins)), 3)
    columns = np.concatenate([bins, NUM_BINS + bins, 2 * NUM_BINS + bins])
    values = np.concatenate([np.ones(len(bins)), scores, matches.hit])
    table = scipy.sparse.csr_array((values, (rows, columns)), shape=(len(bins), 3 * NUM_BINS))
    return sums_by_unit(table, units[matches.images])


def expected_calibration_error(sums: Floats) -> Floats:
    """Mean distance (..., 1) of score and precision over bins, weighted by their detections."""
    count, scores, right = np.split(sums, 3, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.abs(scores - right).sum(axis=-1) / count.sum(axis=-1))[..., None]


def thinned(curve: Curve, num: int = 51) -> dict[str, list[float]]:
    """The curve at `num` of its points at most, evenly among them, as results.json holds it."""
    count = len(curve.score)
    at: NDArray[np.int64] = np.unique(np.linspace(0, max(count - 1, 0), num).astype(np.int64))[:count]
    return {name: values[at].tolist() for name, values in curve._asdict().items()}
