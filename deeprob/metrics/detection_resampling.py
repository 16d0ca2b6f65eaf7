"""COCO's detection metrics with every image counted so many times: what a bootstrap of images needs.

The matching within an image does not change with how often the image is drawn, so it is done once; a resample
only weighs its hits and misses. With all weights 1 the result is pycocotools'.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from deeprob.metrics.detection import Ranked

Floats = NDArray[np.float64]
RECALLS = np.linspace(0, 1, 101)
CHUNK = 2**23  # numbers held at a time


def metrics(parts: Sequence[tuple[list[list[Ranked]], Floats]], truth: Floats) -> Floats:
    """METRICS of deeprob.metrics.detection, float64 (B, 7), under B weightings of I images.

    parts: of each set of detections, Detection.ranked() and weights (B, I); two sets make one whose images
    come from either. truth: weights (B, I) of the objects.
    """
    sizes = [
        [curves([(ranked[size][c], weight) for ranked, weight in parts], truth) for c in range(len(of_size))]
        for size, of_size in enumerate(parts[0][0])
    ]
    ap = [np.stack([found for found, _ in of_size]) for of_size in sizes]  # (C, B, T) each
    recall = np.stack([found for _, found in sizes[0]])
    columns = [ap[0], ap[0][..., :1], ap[0][..., 5:6], *ap[1:], recall]
    return np.stack([_mean(values) for values in columns], axis=-1)


def curves(parts: Sequence[tuple[Ranked, Floats]], truth: Floats) -> tuple[Floats, Floats]:
    """Average precision and largest recall of one class, (B, T) each; NaN where no object is drawn."""
    order = np.argsort(-np.concatenate([ranked.scores for ranked, _ in parts]), kind="stable")
    hit, miss = (
        np.concatenate([getattr(ranked, name) for ranked, _ in parts], axis=1)[:, order]
        for name in ("hit", "miss")
    )
    starts = np.cumsum([0, *(weight.shape[1] for _, weight in parts)])
    images = np.concatenate([ranked.images + at for (ranked, _), at in zip(parts, starts, strict=False)])
    weights = np.ascontiguousarray(np.concatenate([weight for _, weight in parts], axis=1).T)
    positives = truth @ parts[0][0].positives
    ap, recall = np.zeros((len(truth), len(hit))), np.zeros((len(truth), len(hit)))
    for t in range(len(hit)):
        ap[:, t], recall[:, t] = _curve(hit[t], miss[t], images[order], weights, positives)
    none = positives == 0
    ap[none] = recall[none] = np.nan
    return ap, recall


def _curve(
    hit: NDArray[np.bool_],
    miss: NDArray[np.bool_],
    images: NDArray[np.int64],
    weights: Floats,
    positives: Floats,
) -> tuple[Floats, Floats]:
    """Average precision and recall (B,) at one IoU of detections (D,), the best score first; weights (I, B).

    Between two hits precision only falls, so that it is needed at the hits alone.
    """
    at = np.flatnonzero(hit)
    if len(at) == 0:
        return np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    counted = np.flatnonzero((hit | miss)[: at[-1] + 1])
    until = np.searchsorted(at, counted)  # the hit that each of them is counted at first
    shape = len(at), len(weights)
    member = scipy.sparse.csr_array((np.ones(len(counted)), (until, images[counted])), shape=shape)
    ap, recall = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    rows = max(1, CHUNK // len(at))
    for start in range(0, weights.shape[1], rows):
        part = slice(start, start + rows)
        hits = np.cumsum(weights[images[at], part], axis=0).T
        seen = np.cumsum(member @ weights[:, part], axis=0).T
        with np.errstate(invalid="ignore", divide="ignore"):
            reached = hits / positives[part, None]
            precision = np.nan_to_num(hits / seen)
        best_from_here = np.flip(np.maximum.accumulate(np.flip(precision, -1), axis=-1), -1)
        ap[part] = interpolated(reached, best_from_here)
        recall[part] = reached[:, -1]
    return ap, recall


def interpolated(reached: Floats, best: Floats) -> Floats:
    """Mean over RECALLS of `best`, the precision, where each is first reached; 0 where it is not.

    reached: recall after each detection, ascending along the last axis; best: of the same shape.
    """
    if reached.shape[-1] < 2 * len(RECALLS):  # few: ask each how many recalls it is the first to reach
        passed = np.searchsorted(RECALLS, reached, side="right")
        return np.asarray((np.diff(passed, axis=-1, prepend=0) * best).sum(axis=-1) / len(RECALLS))
    mean = np.zeros(reached.shape[:-1])
    for row in np.ndindex(mean.shape):
        at = np.searchsorted(reached[row], RECALLS, side="left")
        mean[row] = best[row][at[at < reached.shape[-1]]].sum() / len(RECALLS)
    return mean


def _mean(values: Floats) -> Floats:
    """Mean over classes and IoUs, (C, B, T) to (B,), of those that are defined."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis=(0, 2)) / known.sum(axis=(0, 2)))
