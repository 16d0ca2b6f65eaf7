"""A model's predictions for every point of every shape of a split, kept in the run folder."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.metrics.classification import Floats, Integers
from deeprob.metrics.points import METRICS, PartSegmentation
from deeprob.metrics.scores import SummedScores
from deeprob.metrics.statistics import sums_by_unit
from deeprob.runs import Run
from deeprob.writing import atomic_file

NAMES = ("keys", "category_names", "parts")


@dataclass(frozen=True)
class PartPredictions:
    """Parts of points.

    labels, predicted: int64 (N, P), parts of the points. categories: int64 (N,), index into category_names.
    units: int64 (N,). keys: (N,). parts: C names. shown: int64 (T,), the worst shapes; pictures: uint8
    (T, h, 2 h, 3), each as labelled beside as predicted. allowed: bool (K, C), the parts of each category.
    """

    labels: Integers
    predicted: Integers
    categories: Integers
    units: Integers
    keys: Sequence[str]
    category_names: Sequence[str]
    parts: Sequence[str]
    shown: Integers
    pictures: NDArray[np.uint8]
    allowed: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))

    @property
    def metric(self) -> PartSegmentation:
        """The metric for these categories and parts."""
        parts = {name: np.flatnonzero(row).tolist() for name, row in self._allowed()}
        return PartSegmentation(parts, len(self.parts))

    def _allowed(self) -> list[tuple[str, NDArray[np.bool_]]]:
        rows = self.allowed
        if not rows.size:  # as earlier versions wrote them: the parts that the labels hold
            rows = np.zeros((len(self.category_names), len(self.parts)), bool)
            for category, labels in zip(self.categories, self.labels, strict=True):
                rows[category, labels] = True
        return list(zip(self.category_names, rows, strict=True))

    def scores(self, predicted: Integers | None = None) -> SummedScores:
        """Score these predictions, or others int64 (N, P) for the same shapes."""
        metric, answers = self.metric, self.predicted if predicted is None else predicted
        rows = [
            metric.shape_sums(self.category_names[category], labels, answer)
            for category, labels, answer in zip(self.categories, self.labels, answers, strict=True)
        ]
        return scores_of(metric, np.stack(rows), self.units)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(self).items()}
        with atomic_file(path, "wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> PartPredictions:
        """Read what `save` wrote. Raises InputError where the file is missing, broken or incomplete."""
        fix = f"run: deeprob evaluate {Run(path.parent).argument}"
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in cls.__dataclass_fields__ if name in file.files}
            for name in NAMES:
                found[name] = found[name].tolist()
            return cls(**found)
        except FileNotFoundError:
            raise InputError("no predictions of this split", where=path, fix=fix) from None
        except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"broken predictions ({error})", where=path, fix=fix) from None


def scores_of(metric: PartSegmentation, rows: Floats, units: Integers) -> SummedScores:
    """Scores of what each shape adds, rows float64 (N, S); units: int64 (N,)."""
    import scipy.sparse

    sums = sums_by_unit(scipy.sparse.csr_array(rows), units)
    return SummedScores(METRICS, sums, metric.metrics_of_sums, (len(rows),) * len(METRICS))
