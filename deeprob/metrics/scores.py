"""Numbers of one file of predictions, as sums over independent units or as ranked detections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from deeprob.metrics.statistics import (
    Difference,
    Intervals,
    Statistic,
    bootstrap,
    paired_difference,
)


class Scores(Protocol):
    """Metrics `names` (M,) over independent units; counts: how many samples are behind each."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def counts(self) -> tuple[int, ...]: ...

    @property
    def method(self) -> str:
        """How the intervals are made."""
        ...

    @property
    def num_units(self) -> int:
        """How many units are independent."""
        ...

    def intervals(self, *, samples: int, seed: int) -> Intervals:
        """Every metric with its 95 % interval."""
        ...

    def difference(self, other: Any, *, samples: int, seed: int) -> Difference:
        """Subtract the metrics of `other`, of the same units."""
        ...


@dataclass(frozen=True, eq=False)
class SummedScores:
    """Metrics that are functions of sums: sums CSR (U, S). bounded: which lie in 0..1, (M,)."""

    names: tuple[str, ...]
    sums: scipy.sparse.csr_array
    statistic: Statistic
    counts: tuple[int, ...]
    bounded: NDArray[np.bool_] | bool = True
    method: str = "BCa bootstrap over independent units"

    @property
    def num_units(self) -> int:
        return int(self.sums.shape[0])

    def intervals(self, *, samples: int, seed: int) -> Intervals:
        return bootstrap(self.sums, self.statistic, samples=samples, seed=seed, proportions=self.bounded)

    def difference(self, other: SummedScores, *, samples: int, seed: int) -> Difference:
        return paired_difference(self.sums, other.sums, self.statistic, samples=samples, seed=seed)


@dataclass(frozen=True, eq=False)
class Judged:
    """What judging one file gave.

    scores: over everything. per_class: class -> (n, metric -> Intervals of one). slices: kind -> [{label, n,
    units, value, ci95}], of the metric `sliced`. drawings: name -> SVG. worst: pictures of the worst, as the
    page takes them. notes: sentences about what was counted and what was not.
    """

    scores: Scores
    per_class: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    slices: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    sliced: str = ""
    drawings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    worst: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()


def entry(value: float, low: float, high: float, count: int) -> dict[str, Any]:
    """A number as results.json holds it; what is not defined is None."""
    known = bool(np.isfinite(low) and np.isfinite(high))
    return {
        "value": float(value) if np.isfinite(value) else None,
        "ci95": [float(low), float(high)] if known else None,
        "n": int(count),
    }


def class_entries(
    intervals: Intervals, classes: Sequence[str], metrics: Sequence[str], counts: NDArray[np.integer]
) -> dict[str, dict[str, Any]]:
    """Intervals of (C * M,) as class -> {n, metric: entry}; classes without samples are left out."""
    shape = len(classes), len(metrics)
    value, low, high = (part.reshape(shape) for part in (intervals.value, intervals.low, intervals.high))
    return {
        name: {"n": int(counts[c])}
        | {m: entry(value[c, i], low[c, i], high[c, i], int(counts[c])) for i, m in enumerate(metrics)}
        for c, name in enumerate(classes)
        if counts[c]
    }


def units_of(labels: Sequence[str]) -> NDArray[np.int64]:
    """Number each label by its first appearance: int64 (N,)."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], np.int64)
