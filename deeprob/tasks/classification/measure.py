"""What the predictions for crops, or clouds, are worth: by class, by slice, against baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deeprob.metrics.classification import Floats, class_ratios, confusion_matrix
from deeprob.metrics.entries import as_entry, entry
from deeprob.metrics.ranking import areas_of_classes
from deeprob.metrics.ranking_influence import areas_in_closed_form
from deeprob.metrics.ratios import bootstrap_ratios
from deeprob.metrics.scores import Evaluation
from deeprob.progress import Status, quiet
from deeprob.tasks.classification.meter import scores_of
from deeprob.tasks.classification.predictions import Predictions, frequent_confusions
from deeprob.tasks.classification.slices import error_slices

PER_CLASS = ("precision", "recall", "f1")
AREAS = ("roc_auc", "average_precision")  # per class too, from the curves
RANKING_SAMPLES = 500  # resamples of a curve, each of which ranks every sample again
MOST_RANKED = 10**9  # classes times samples times resamples: beyond, the intervals come in closed form
MATRIX_CLASSES, MOST_CONFUSIONS = 200, 1000
CLOSED_FORM = (
    "Intervals of ROC AUC and average precision of each class: in closed form (infinitesimal jackknife over "
    "the independent units, on the logit scale), as there are too many classes and samples to rank them anew "
    "in every resample."
)


def measure(predictions: Predictions, *, samples: int, seed: int, status: Status = quiet) -> Evaluation:
    """Evaluate predictions: scores, baselines, per class, confusion, slices. status: shows what is done."""
    classes, labels, units = list(predictions.classes), predictions.labels, predictions.units
    scores = scores_of(predictions.probabilities, labels, units)
    support = np.bincount(labels, minlength=len(classes))
    with status("intervals of the classes"):
        of_classes = bootstrap_ratios(*class_ratios(scores.sums), samples=samples, seed=seed)
    areas, notes = _areas(predictions, min(samples, RANKING_SAMPLES), seed, status)
    per_class: dict[str, dict[str, Any]] = {}
    for j, name in enumerate(classes):
        n = int(support[j])
        per_class[name] = {
            "n": n,
            **{m: as_entry(of_classes, i * len(classes) + j, n) for i, m in enumerate(PER_CLASS)},
        }
        for i, metric in enumerate(AREAS):
            value, low, high = (float(of[j, i]) for of in areas)
            if low == high:  # zero spread over the resamples: reporting [1, 1] would overstate certainty
                low = high = float("nan")
            per_class[name][metric] = entry(value, low, high, n)
    beside = {n: scores_of(p.astype(np.float64), labels, units) for n, p in predictions.baselines.items()}
    with status("error slices"):
        slices = error_slices(predictions, samples=min(samples, RANKING_SAMPLES), seed=seed)
    return Evaluation(
        scores,
        per_class,
        slices,
        scores.names[0],
        more=_confusions(predictions),
        baselines=beside,
        notes=notes,
    )


def _areas(
    predictions: Predictions, samples: int, seed: int, status: Status
) -> tuple[Sequence[Floats], Sequence[str]]:
    """AREAS of each class with their ends, (C, 2) each, and what a report has to say of them."""
    of = predictions.probabilities, predictions.labels, predictions.units
    heading = "ranking the samples by each class"
    if of[0].size * samples <= MOST_RANKED:
        with status(heading):
            return areas_of_classes(*of, samples=samples, seed=seed), ()
    with status(heading, len(predictions.classes)) as advance:
        return areas_in_closed_form(*of, step=advance), (CLOSED_FORM,)


def _confusions(predictions: Predictions) -> dict[str, Any]:
    """The whole matrix, or of many classes the most frequent errors."""
    classes = predictions.classes
    if len(classes) <= MATRIX_CLASSES:
        matrix = confusion_matrix(predictions.labels, predictions.predicted, len(classes))
        return {"confusion": matrix.tolist()}
    frequent = frequent_confusions(predictions)[:MOST_CONFUSIONS]
    return {"confusions": [{"label": classes[i], "predicted": classes[j], "n": n} for n, i, j in frequent]}
