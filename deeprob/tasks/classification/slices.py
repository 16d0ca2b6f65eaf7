"""Accuracy in parts of the test set: by class, recording, object size, distance and visible fraction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from deeprob.metrics.classification import Floats
from deeprob.metrics.slices import LEAST, quarters
from deeprob.metrics.statistics import bootstrap, sums_by_unit
from deeprob.tasks.classification.predictions import Predictions
from deeprob.tasks.classification.view import ATTRIBUTES

MOST_GROUPS = 30
MOST_CLASSES = 200
Part = tuple[str, NDArray[np.int64]]


def error_slices(predictions: Predictions, *, samples: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Top-1 accuracy with its 95 % interval in every slice: kind -> slices, {label, n, units, value, ci95}.

    Quantities are cut into quarters of the samples, classes and recordings are listed from the worst, at most
    MOST_CLASSES and MOST_GROUPS of them; slices of fewer than LEAST samples are left out, and kinds with
    fewer than two slices; recordings too where each is one independent unit, of which no interval can be
    given.
    """
    right = predictions.predicted == predictions.labels
    rows = np.stack([right, np.ones(len(right))], axis=1)
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, parts in _parts(predictions):
        kept = [part for part in parts if len(part[1]) >= LEAST]
        if kind in MOST:
            kept.sort(key=lambda part: right[part[1]].mean())
            if kind == "group" and all(len(np.unique(predictions.units[index])) == 1 for _, index in kept):
                continue  # each is one unit alone: what sets them apart is chance
            kept = kept[: MOST[kind]]
        if len(kept) > 1:
            found[kind] = [
                _entry(label, rows[index], predictions.units[index], samples, seed) for label, index in kept
            ]
    return found


MOST = {"class": MOST_CLASSES, "group": MOST_GROUPS}


def _entry(label: str, rows: Floats, units: NDArray[np.int64], samples: int, seed: int) -> dict[str, Any]:
    sums = sums_by_unit(scipy.sparse.csr_array(rows), units)
    of = bootstrap(sums, _accuracy, samples=samples, seed=seed)
    ends = [float(of.low[0]), float(of.high[0])]
    entry = {"label": label, "n": len(rows), "units": int(sums.shape[0]), "value": float(of.value[0])}
    return {**entry, "ci95": ends if np.isfinite(ends).all() else None}


def _parts(predictions: Predictions) -> Iterator[tuple[str, list[Part]]]:
    """Every kind of slice, with the name of each part and which samples are in it."""
    for column, kind in enumerate(ATTRIBUTES):
        values = predictions.attributes[:, column] if len(predictions.attributes) else np.zeros(0)
        yield kind, [(label, np.flatnonzero(inside)) for label, inside in quarters(values)]
    yield "class", _by_number(predictions.classes, predictions.labels)
    names, number = np.unique(np.asarray(predictions.groups, np.str_), return_inverse=True)
    yield "group", _by_number(names.tolist(), number)


def _by_number(names: Sequence[str], number: NDArray[np.int64]) -> list[Part]:
    """The samples of each number, (N,), in one pass over them."""
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(1, len(names)))
    return list(zip(names, np.split(order, ends), strict=True)) if len(names) else []


def _accuracy(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., :1] / sums[..., 1:]
