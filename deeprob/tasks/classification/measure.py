"""What the predictions for crops, or clouds, are worth: by class, by slice, against baselines."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeprob.metrics.classification import Floats, class_metrics_of_sums, confusion_matrix
from deeprob.metrics.entries import as_entry, entry
from deeprob.metrics.ranking import areas_of_classes
from deeprob.metrics.scores import Evaluation
from deeprob.metrics.statistics import bootstrap
from deeprob.tasks.classification.meter import scores_of
from deeprob.tasks.classification.predictions import Predictions
from deeprob.tasks.classification.slices import error_slices

PER_CLASS = ("precision", "recall", "f1")
AREAS = ("roc_auc", "average_precision")  # per class too, from the curves
RANKING_SAMPLES = 500  # resamples of a curve, each of which ranks every sample again


def measure(predictions: Predictions, *, samples: int, seed: int) -> Evaluation:
    """Evaluate predictions: scores, baselines, per class, confusion, slices."""
    classes, labels, units = list(predictions.classes), predictions.labels, predictions.units
    scores = scores_of(predictions.probabilities, labels, units)
    confusion = confusion_matrix(labels, predictions.predicted, len(classes))
    support = confusion.sum(axis=1)

    def class_metrics(total: Floats) -> Floats:
        values = class_metrics_of_sums(total)
        return values.reshape(*values.shape[:-2], -1)

    of_classes = bootstrap(scores.sums, class_metrics, samples=samples, seed=seed)
    per_class: dict[str, dict[str, Any]] = {
        name: {"n": int(n)} for name, n in zip(classes, support, strict=True)
    }
    for i, metric in enumerate(PER_CLASS):
        for j, name in enumerate(classes):
            per_class[name][metric] = as_entry(of_classes, i * len(classes) + j, int(support[j]))
    areas = areas_of_classes(
        predictions.probabilities, labels, units, samples=min(samples, RANKING_SAMPLES), seed=seed
    )
    for j, name in enumerate(classes):
        for i, metric in enumerate(AREAS):
            value, low, high = (float(of[j, i]) for of in areas)
            if low == high:  # zero spread over the resamples: reporting [1, 1] would overstate certainty
                low = high = float("nan")
            per_class[name][metric] = entry(value, low, high, int(support[j]))
    beside = {n: scores_of(p.astype(np.float64), labels, units) for n, p in predictions.baselines.items()}
    return Evaluation(
        scores,
        per_class,
        error_slices(predictions, samples=min(samples, RANKING_SAMPLES), seed=seed),
        scores.names[0],
        more={"confusion": confusion.tolist()},
        baselines=beside,
    )
