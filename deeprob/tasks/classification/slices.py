"""Accuracy in parts of the test set: by class, recording, object size, distance and visible fraction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.metrics.classification import Floats, metrics_of_sums
from deeprob.metrics.slices import LEAST, quarters
from deeprob.metrics.statistics import bootstrap
from deeprob.tasks.classification.meter import scores_of
from deeprob.tasks.classification.predictions import Predictions
from deeprob.tasks.classification.view import ATTRIBUTES

MOST_GROUPS = 30


def error_slices(predictions: Predictions, *, samples: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Top-1 accuracy with its 95 % interval in every slice: kind -> slices, {label, n, units, value, ci95}.

    Quantities are cut into quarters of the samples, classes and recordings are listed from the worst; slices
    of fewer than LEAST samples are left out, and kinds with fewer than two slices; recordings too where each
    is one independent unit, of which no interval can be given.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, label, members in _members(predictions):
        index = np.flatnonzero(members)
        if len(index) < LEAST:
            continue
        sums = scores_of(
            predictions.probabilities[index], predictions.labels[index], predictions.units[index]
        ).sums
        of = bootstrap(sums, _accuracy, samples=samples, seed=seed)
        ends = [float(of.low[0]), float(of.high[0])]
        entry = {"label": label, "n": len(index), "units": int(sums.shape[0]), "value": float(of.value[0])}
        found.setdefault(kind, []).append({**entry, "ci95": ends if np.isfinite(ends).all() else None})
    for kind in ("class", "group"):
        found[kind] = sorted(found.get(kind, []), key=lambda entry: entry["value"])
    if all(entry["units"] == 1 for entry in found["group"]):
        found["group"] = []  # each is one unit alone: what sets them apart is chance
    found["group"] = found["group"][:MOST_GROUPS]
    return {kind: entries for kind, entries in found.items() if len(entries) > 1}


def _members(predictions: Predictions) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Every slice: its kind, its name, which samples are in it."""
    for column, kind in enumerate(ATTRIBUTES):
        values = predictions.attributes[:, column] if len(predictions.attributes) else np.zeros(0)
        for label, inside in quarters(values):
            yield kind, label, inside
    for class_id, name in enumerate(predictions.classes):
        yield "class", name, predictions.labels == class_id
    groups = np.asarray(predictions.groups)
    for group in np.unique(groups):
        yield "group", str(group), groups == group


def _accuracy(sums: Floats) -> Floats:
    return metrics_of_sums(sums)[..., :1]
