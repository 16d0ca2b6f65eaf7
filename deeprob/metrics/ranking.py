"""Ranking by score, one class against the rest: ROC and precision-recall curves, and the areas under them.

With the samples ordered by falling score s and a threshold after each distinct score:
    TPR = TP / P        recall, the ROC curve's height
    FPR = FP / (all - P)
    precision = TP / (TP + FP)
    AUC = integral of TPR over FPR by trapezoids: the chance that a positive scores above a negative, ties
          counting one half (Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27, 2006)
    AP  = sum of precision * (rise in recall), no interpolation (Zhu, Recall, precision and average precision,
          University of Waterloo 2004)

Samples may be weighted, so that a bootstrap over independent units is one matrix of weights.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deeprob.metrics.classification import Floats, Integers

CHUNK_BYTES = 32 * 2**20


class Ranking:
    """Samples ordered by falling score, scores float64 (N,), positive bool (N,)."""

    def __init__(self, scores: Floats, positive: NDArray[np.bool_]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._positive = positive[self._order].astype(np.float64)
        self._last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of each distinct score

    def counts(self, weights: Floats | None = None) -> tuple[Floats, Floats]:
        """True and false positives after each distinct score, (..., T) each; weights (..., N) of samples."""
        if weights is None:
            weights = np.ones(len(self._order))
        ordered = weights[..., self._order]
        hits = np.cumsum(ordered * self._positive, axis=-1)[..., self._last]
        everything = np.cumsum(ordered, axis=-1)[..., self._last]
        return hits, everything - hits

    def roc(self) -> tuple[Floats, Floats]:
        """Curve from (0, 0): false and true positive rate, float64 (T + 1,); NaN without both kinds."""
        hits, false = self.counts()
        with np.errstate(invalid="ignore"):
            return np.append(0, false) / false[-1], np.append(0, hits) / hits[-1]

    def precision_recall(self) -> tuple[Floats, Floats]:
        """Precision and recall after each distinct score, float64 (T,); NaN without positives."""
        hits, false = self.counts()
        with np.errstate(invalid="ignore"):
            return hits / (hits + false), hits / hits[-1]

    def areas(self, weights: Floats | None = None) -> Floats:
        """AUC and AP, float64 (..., 2); NaN where a kind is missing. weights: (..., N), of the samples."""
        hits, false = self.counts(weights)
        rise, run = np.diff(hits, prepend=0), np.diff(false, prepend=0)
        before = hits - rise
        with np.errstate(invalid="ignore", divide="ignore"):
            auc = (run * (hits + before)).sum(-1) / (2 * hits[..., -1] * false[..., -1])
            precision = np.nan_to_num(hits / (hits + false))  # nothing has been ranked yet
            ap = (rise * precision).sum(-1) / hits[..., -1]
        return np.stack([auc, ap], axis=-1)


def areas_of_classes(
    probabilities: Floats, labels: Integers, units: Integers, *, samples: int, seed: int
) -> tuple[Floats, Floats, Floats]:
    """AUC and AP of each class against the rest with the ends of their 95 % intervals, float64 (C, 2) each.

    Intervals: bias-corrected percentile bootstrap of whole units (Efron and Tibshirani, An introduction to
    the bootstrap, 1993, chapter 14, without acceleration). NaN where a class does not occur, and the ends
    where there is one unit.
    """
    from deeprob.metrics.statistics import bias_corrected

    rankings = [Ranking(probabilities[:, c], labels == c) for c in range(probabilities.shape[1])]
    value = np.stack([ranking.areas() for ranking in rankings])
    index = np.unique(units, return_inverse=True)[1]
    if samples < 1 or len(index) == 0 or index.max() < 1:
        return value, np.full_like(value, np.nan), np.full_like(value, np.nan)
    resampled = np.concatenate(
        [
            np.stack([ranking.areas(weights) for ranking in rankings], axis=1)
            for weights in _weights(index, samples, seed)
        ]
    )
    low, high = bias_corrected(value.ravel(), resampled.reshape(len(resampled), -1))
    return value, low.reshape(value.shape), high.reshape(value.shape)


def _weights(index: Integers, samples: int, seed: int) -> Iterator[Floats]:
    """How often each sample (N,) is drawn when whole units are, a chunk (b, N) of resamples at a time."""
    rng = np.random.default_rng(seed)
    num_units = int(index.max()) + 1
    rows = max(1, CHUNK_BYTES // (8 * len(index)))
    for start in range(0, samples, rows):
        count = min(rows, samples - start)
        drawn = rng.integers(num_units, size=(count, num_units)) + num_units * np.arange(count)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=count * num_units).reshape(count, num_units)
        yield counts[:, index].astype(np.float64)
