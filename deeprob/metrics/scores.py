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
    Floats,
    Intervals,
    Statistic,
    bootstrap,
    paired_difference,
    resampled_totals,
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

    @property
    def value(self) -> Floats:
        """Every metric, float64 (M,)."""
        ...

    def intervals(self, *, samples: int, seed: int) -> Intervals:
        """Every metric with its 95 % interval."""
        ...

    def difference(self, other: Any, *, samples: int, seed: int) -> Difference:
        """Subtract the metrics of `other`, of the same units."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What they are made of again."""
        ...

    def resampled(self, samples: int, seed: int) -> Floats:
        """Every metric in resamples of the units, (samples, M); the same seed draws the same units."""
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
    def value(self) -> Floats:
        return self.statistic(np.asarray(self.sums.sum(axis=0), np.float64))

    @property
    def num_units(self) -> int:
        return int(self.sums.shape[0])

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"sums": self.sums.toarray(), "counts": np.array(self.counts)}

    @classmethod
    def of_arrays(
        cls,
        arrays: Mapping[str, Any],
        names: tuple[str, ...],
        statistic: Statistic,
        bounded: NDArray[np.bool_] | bool = True,
    ) -> SummedScores:
        """The scores whose `arrays` these are. Raises KeyError where one is missing."""
        sums, counts = scipy.sparse.csr_array(arrays["sums"]), tuple(arrays["counts"].tolist())
        return cls(names, sums, statistic, counts, bounded)

    def resampled(self, samples: int, seed: int) -> Floats:
        return np.concatenate([self.statistic(total) for total in resampled_totals(self.sums, samples, seed)])

    def intervals(self, *, samples: int, seed: int) -> Intervals:
        return bootstrap(self.sums, self.statistic, samples=samples, seed=seed, proportions=self.bounded)

    def difference(self, other: SummedScores, *, samples: int, seed: int) -> Difference:
        return paired_difference(self.sums, other.sums, self.statistic, samples=samples, seed=seed)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What the predictions for a split are worth.

    scores: over everything; baselines: name -> scores on the same units. per_class: class -> {n, metric:
    entry}. slices: kind -> [{label, n, units, value, ci95}], of the metric `sliced`. more: what else
    results.json holds. drawings: name -> (SVG, caption). worst: pictures of the worst, as the page takes
    them. notes: sentences about what was counted and what was not. most_samples: resamples at most, where
    each costs much.
    """

    scores: Scores
    per_class: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    slices: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    sliced: str = ""
    drawings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    worst: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    most_samples: int | None = None
    baselines: Mapping[str, Scores] = field(default_factory=dict)


def units_of(labels: Sequence[str]) -> NDArray[np.int64]:
    """Number each label by its first appearance: int64 (N,)."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], np.int64)
