"""Classification metrics, all of them functions of sums over samples.

Each sample adds to a vector of S numbers: is it right, which class is it, which was predicted, is the label
among the five most probable, and what it puts into its confidence bin. Every metric is computed from the
sum of these vectors. So metrics stream in bounded memory, merge exactly, and a bootstrap over independent
units is one matrix product of resampling weights with the sums of each unit.

    top1_accuracy      sum of right / N
    top5_accuracy      the label is among the five most probable classes (more than five classes only)
    balanced_accuracy  mean over the classes that occur of recall_c = right_c / labelled_c
    macro_f1           mean over the classes that occur or are predicted of 2 right_c / (labelled_c +
    predicted_c) expected_calibration_error   sum over 15 equal confidence bins of |right_b - confidence_b|
    / N
                       (Guo et al., On calibration of modern neural networks, ICML 2017, eq. 3)

Ties are broken by the smallest class index. What is not defined (the recall of a class without samples) is
NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from deeprob.errors import InputError

NUM_BINS = 15
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def softmax(logits: NDArray[np.floating]) -> Floats:
    """Probabilities float64 (N, C) of logits (N, C). Raises InputError where a logit is not finite."""
    wide = logits.astype(np.float64)
    finite = np.isfinite(wide).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{int((~finite).sum())} of {len(wide)} outputs are not finite",
            where=f"logits of sample {finite.argmin()}",
            fix="evaluate another checkpoint or train with a smaller learning rate",
        )
    exponentials = np.exp(wide - wide.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def sample_sums(probabilities: Floats, labels: Integers) -> scipy.sparse.csr_array:
    """Return what each sample adds: float64 CSR (N, S), S = 3 C + 1 + 3 NUM_BINS, seven entries a row.

    probabilities: float64 (N, C), rows sum to 1; labels: int64 (N,), 0..C - 1. Raises InputError where they
    do not fit.
    """
    count, num_classes = _checked_shape(probabilities, labels)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(count), predicted]
    right = (predicted == labels).astype(np.float64)
    bins = np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    of_label = probabilities[np.arange(count), labels][:, None]
    before = np.arange(num_classes) < labels[:, None]
    rank = ((probabilities > of_label) | ((probabilities == of_label) & before)).sum(axis=1)
    one = np.ones(count)
    start = 3 * num_classes + 1
    columns = [
        (labels, right),
        (num_classes + labels, one),
        (2 * num_classes + predicted, one),
        (np.full(count, 3 * num_classes), (rank < 5).astype(np.float64)),
        (start + bins, one),
        (start + NUM_BINS + bins, confidence),
        (start + 2 * NUM_BINS + bins, right),
    ]
    return scipy.sparse.csr_array(
        (
            np.stack([values for _, values in columns], axis=1).ravel(),
            np.stack([indices for indices, _ in columns], axis=1).ravel(),
            np.arange(0, 7 * count + 1, 7),
        ),
        shape=(count, start + 3 * NUM_BINS),
    )


def metric_names(num_classes: int) -> tuple[str, ...]:
    """Names of the columns of `metrics_of_sums`."""
    top5 = ("top5_accuracy",) if num_classes > 5 else ()
    return ("top1_accuracy", *top5, "balanced_accuracy", "macro_f1", "expected_calibration_error")


def metrics_of_sums(sums: Floats) -> Floats:
    """Metrics float64 (..., len(metric_names)) of sums (..., S); NaN where no sample was summed."""
    num_classes = _num_classes(sums.shape[-1])
    right, labelled, predicted = _by_class(sums)
    bins = sums[..., 3 * num_classes + 1 :]
    confidence, bin_right = bins[..., NUM_BINS : 2 * NUM_BINS], bins[..., 2 * NUM_BINS :]
    total = labelled.sum(axis=-1)
    top5 = [_ratio(sums[..., 3 * num_classes], total)] if num_classes > 5 else []
    return np.stack(
        [
            _ratio(right.sum(axis=-1), total),
            *top5,
            _mean_where(right, labelled, labelled > 0),
            _mean_where(2 * right, labelled + predicted, labelled + predicted > 0),
            _ratio(np.abs(bin_right - confidence).sum(axis=-1), total),
        ],
        axis=-1,
    )


def class_ratios(sums: scipy.sparse.csr_array) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]:
    """Precision, recall and F1 of each class as ratios of what U units add, CSR (U, S): CSR (U, 3 C) each."""
    num_classes = _num_classes(sums.shape[1])
    right, labelled, predicted = (sums[:, i * num_classes : (i + 1) * num_classes] for i in range(3))
    above = scipy.sparse.hstack([right, right, 2 * right], format="csr")
    below = scipy.sparse.hstack([predicted, labelled, labelled + predicted], format="csr")
    return scipy.sparse.csr_array(above), scipy.sparse.csr_array(below)


def reliability(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Return samples, mean confidence and accuracy of each bin, float64 (NUM_BINS,); NaN where empty."""
    count, confidence, right = np.split(sums[-3 * NUM_BINS :], 3)
    return count, _ratio(confidence, count), _ratio(right, count)


def confusion_matrix(labels: Integers, predicted: Integers, num_classes: int) -> Integers:
    """Count the samples of each (label, prediction), int64 (C, C)."""
    flat = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes).astype(np.int64)


class Classification:
    """Metrics of a stream of batches, in memory that does not grow with it.

    `update` with every batch, `merge` what other processes hold, `compute` at any time.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.sums: Floats = np.zeros(3 * num_classes + 1 + 3 * NUM_BINS)
        self.confusion: Integers = np.zeros((num_classes, num_classes), np.int64)

    def update(self, probabilities: Floats, labels: Integers) -> None:
        """Add a batch: probabilities float64 (N, C), labels int64 (N,)."""
        if probabilities.shape[1:] != (self.num_classes,):
            raise InputError(
                f"probabilities of shape {probabilities.shape}",
                where="classification metrics",
                expected=f"(N, {self.num_classes})",
            )
        self.sums += sample_sums(probabilities, labels).sum(axis=0)
        self.confusion += confusion_matrix(labels, probabilities.argmax(axis=1), self.num_classes)

    def merge(self, other: Classification) -> None:
        """Add what another stream has seen."""
        self.sums += other.sums
        self.confusion += other.confusion

    def compute(self) -> dict[str, float]:
        """Return every metric by name; NaN before the first sample."""
        names = metric_names(self.num_classes)
        return dict(zip(names, metrics_of_sums(self.sums).tolist(), strict=True))


def _checked_shape(probabilities: Floats, labels: Integers) -> tuple[int, int]:
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise InputError(
            f"probabilities {probabilities.shape} and labels {labels.shape} do not fit",
            where="classification metrics",
            expected="(N, C) and (N,)",
        )
    count, num_classes = probabilities.shape
    if count and not 0 <= labels.min() <= labels.max() < num_classes:
        wrong = labels[(labels < 0) | (labels >= num_classes)][0]
        raise InputError(
            f"label {wrong}", where="classification metrics", expected=f"0 to {num_classes - 1}, the classes"
        )
    return count, num_classes


def _num_classes(size: int) -> int:
    """Of sums of this many numbers."""
    return (size - 1 - 3 * NUM_BINS) // 3


def _by_class(sums: Floats) -> Sequence[Floats]:
    num_classes = _num_classes(sums.shape[-1])
    return [sums[..., i * num_classes : (i + 1) * num_classes] for i in range(3)]


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _mean_where(numerator: Floats, denominator: Floats, where: NDArray[np.bool_]) -> Floats:
    """Mean over the last axis of the ratios that are defined."""
    ratios = np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape))
    np.divide(numerator, denominator, out=ratios, where=where)
    return _ratio(ratios.sum(axis=-1), where.sum(axis=-1).astype(np.float64))
