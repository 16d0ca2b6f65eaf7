"""Many runs in one table: groups of runs that differ by their seed alone, each against a base group."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse

from deeprob.errors import InputError
from deeprob.evaluation.evaluate import unit_sums
from deeprob.metrics.classification import metric_names, metrics_of_sums
from deeprob.metrics.statistics import Contrast, contrast_over_seeds, holm
from deeprob.runs import Run
from deeprob.tasks.classification.predictions import Predictions


@dataclass(frozen=True)
class Row:
    """One group of runs.

    values: seed -> metric, where it is defined. interval: of their mean. difference: to the base group over
    the seeds that both have, its p-value corrected for the number of rows; None for the base itself, and
    where the runs share no seed or no samples.
    seconds, parameters: means over the runs, None where not known. errors: one line for each failed run.
    """

    name: str
    values: Mapping[int, float] = field(default_factory=dict)
    interval: Contrast | None = None
    difference: Contrast | None = None
    seconds: float | None = None
    parameters: float | None = None
    num_samples: int = 0
    errors: Sequence[str] = ()

    @property
    def mean(self) -> float | None:
        """Mean over the seeds."""
        return float(np.mean(list(self.values.values()))) if self.values else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation over the seeds; None below two."""
        return float(np.std(list(self.values.values()), ddof=1)) if len(self.values) > 1 else None


@dataclass(frozen=True)
class _Tested:
    """A run as a comparison needs it: the sums of its units, and the samples they are of."""

    sums: scipy.sparse.csr_array
    samples: str
    num_classes: int


class Comparison:
    """Evaluated runs, name -> seed -> run, compared by one metric.

    Raises InputError where the runs are of different tasks or splits, lack the metric or their predictions.
    """

    def __init__(self, groups: Mapping[str, Mapping[int, Run]], metric: str) -> None:
        self.groups = groups
        self.metric = metric
        self.results = {
            name: {seed: run.read_results() for seed, run in runs.items()} for name, runs in groups.items()
        }
        self._check()
        self._tested: dict[tuple[str, int], _Tested] = {}

    def rows(self, base: str, errors: Mapping[str, Sequence[str]] | None = None) -> list[Row]:
        """One row a group, each against the group `base`. errors: lines about runs that failed, by group."""
        rows = []
        for name, found in self.results.items():
            entries = {seed: results["metrics"][self.metric] for seed, results in found.items()}
            values = {seed: entry["value"] for seed, entry in entries.items() if entry["value"] is not None}
            undefined = [
                f"seed {seed}: {self.metric} is not defined" for seed in entries if seed not in values
            ]
            rows.append(
                Row(
                    name,
                    values,
                    interval=self.contrast({name: 1.0}),
                    difference=None if name == base else self.contrast({name: 1.0, base: -1.0}),
                    seconds=_mean(found, "train_seconds"),
                    parameters=_mean(found, "parameters"),
                    num_samples=next(iter(entries.values()))["n"] if entries else 0,
                    errors=(*(errors or {}).get(name, ()), *undefined),
                )
            )
        adjusted = corrected([row.difference for row in rows])
        return [replace(row, difference=difference) for row, difference in zip(rows, adjusted, strict=True)]

    def contrast(self, weights: Mapping[str, float]) -> Contrast | None:
        """Weigh the groups' metrics over the seeds in which all were tested on the same samples, if any."""
        runs, samples = [], []
        for seed in self.groups[next(iter(weights))]:
            if any(not self._defined(name, seed) for name in weights):
                continue
            tested = [self._load(name, seed) for name in weights]
            if len({t.samples for t in tested}) == 1:
                runs.append(tested)
                samples.append(tested[0].samples)
        if not runs:
            return None
        return contrast_over_seeds(
            [[t.sums for t in of_seed] for of_seed in runs],
            list(weights.values()),
            metrics_of_sums,
            metric_names(runs[0][0].num_classes).index(self.metric),
            same_units=len(set(samples)) == 1,
        )

    def _defined(self, name: str, seed: int) -> bool:
        """Whether the group has a run of this seed, and the metric a value in it."""
        return (
            seed in self.groups[name]
            and self.results[name][seed]["metrics"][self.metric]["value"] is not None
        )

    def _load(self, name: str, seed: int) -> _Tested:
        if (name, seed) not in self._tested:
            predictions = Predictions.load(self.groups[name][seed], self.results[name][seed]["split"])
            sums = unit_sums(predictions.probabilities, predictions.labels, predictions.units)
            digest = hashlib.sha256(predictions.labels.tobytes() + predictions.units.tobytes())
            digest.update("\0".join([*predictions.classes, "", *predictions.keys]).encode())
            self._tested[name, seed] = _Tested(sums, digest.hexdigest(), len(predictions.classes))
        return self._tested[name, seed]

    def _check(self) -> None:
        """Refuse runs that cannot stand in one table."""
        everything = [results for found in self.results.values() for results in found.values()]
        for key in ("task", "split"):
            found = sorted({str(results[key]) for results in everything})
            if len(found) > 1:
                raise InputError(
                    f"runs of different {key}s: {', '.join(found)}", where="comparison", expected=f"one {key}"
                )
        for results in everything:
            if self.metric not in results["metrics"]:
                raise InputError(
                    f"no metric {self.metric!r}",
                    where=f"run {results['run_id']}",
                    expected=", ".join(results["metrics"]),
                )


def corrected(contrasts: Sequence[Contrast | None]) -> list[Contrast | None]:
    """Correct the p-values of a table together, by Holm's method."""
    adjusted = iter(holm(np.array([c.p_value for c in contrasts if c is not None])).tolist())
    return [None if c is None else replace(c, p_value=next(adjusted)) for c in contrasts]


def _mean(results: Mapping[int, Mapping[str, Any]], cost: str) -> float | None:
    known = [r["cost"][cost] for r in results.values() if r["cost"].get(cost) is not None]
    return float(np.mean(known)) if known else None
