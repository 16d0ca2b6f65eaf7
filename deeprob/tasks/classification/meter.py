"""Classified samples beside their labels, as scores over independent units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeprob.data.batches.samples import Samples
from deeprob.metrics.classification import Floats, Integers, metric_names, metrics_of_sums, sample_sums
from deeprob.metrics.scores import SummedScores
from deeprob.metrics.statistics import sums_by_unit


def scores_of(probabilities: Floats, labels: Integers, units: NDArray[np.int64]) -> SummedScores:
    """Score probabilities float64 (N, C) for labels int64 (N,); units: int64 (N,), what is independent."""
    names = metric_names(probabilities.shape[1])
    sums = sums_by_unit(sample_sums(probabilities, labels), units)
    return SummedScores(names, sums, metrics_of_sums, (len(labels),) * len(names))


class ClassificationMeter:
    """Collects class probabilities and labels."""

    def __init__(self, num_classes: int) -> None:
        self._probabilities: list[Floats] = [np.zeros((0, num_classes))]
        self._labels: list[Integers] = [np.zeros(0, np.int64)]
        self._units: list[Integers] = [np.zeros(0, np.int64)]

    def update(self, probabilities: Floats, truths: Samples) -> None:
        """Add float64 (B, C) for B samples with `labels` int64 (B,)."""
        self._probabilities.append(probabilities)
        self._labels.append(truths.labels.cpu().numpy())  # type: ignore[attr-defined]
        self._units.append(truths.units.cpu().numpy())

    def merge(self, other: ClassificationMeter) -> None:
        """Add the samples of another process."""
        self._probabilities += other._probabilities
        self._labels += other._labels
        self._units += other._units

    def scores(self) -> SummedScores:
        """Every metric of deeprob.metrics.classification."""
        probabilities, labels = np.concatenate(self._probabilities), np.concatenate(self._labels)
        return scores_of(probabilities, labels, np.concatenate(self._units))
