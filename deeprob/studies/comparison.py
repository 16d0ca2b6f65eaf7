"""Many runs in one table: groups of runs that differ by their seed alone, each against a base group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.evaluation.report import task_of_results
from deeprob.metrics.contrasts import Contrast, contrast_over_seeds
from deeprob.metrics.scores import Scores
from deeprob.metrics.statistics import holm
from deeprob.progress import tracked
from deeprob.runs import Run


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


class OneMetric:
    """One metric of some scores: value float64 (1,). Its resamples are made once."""

    def __init__(self, scores: Scores, metric: str) -> None:
        self._scores, self._column = scores, scores.names.index(metric)
        self.value, self.num_units = scores.value[[self._column]], scores.num_units
        self._made: dict[tuple[int, int], NDArray[np.float64]] = {}

    def resampled(self, samples: int, seed: int) -> NDArray[np.float64]:
        """The metric in resamples of the units, (samples, 1)."""
        key = samples, seed
        if key not in self._made:
            self._made[key] = self._scores.resampled(samples, seed)[:, [self._column]]
        return self._made[key]


class Comparison:
    """Evaluated runs, name -> seed -> run, compared by one metric: None takes the headline of their task.

    allowed: further packages that the task may come from.

    Raises InputError where the runs are of different tasks or splits, lack the metric or their predictions.
    """

    def __init__(
        self, groups: Mapping[str, Mapping[int, Run]], metric: str | None = None, allowed: Sequence[str] = ()
    ) -> None:
        self.groups, self.allowed = groups, allowed
        self.results = {
            name: {seed: run.read_results() for seed, run in runs.items()} for name, runs in groups.items()
        }
        everything = [of_seed for found in self.results.values() for of_seed in found.values()]
        self.metric = metric or (task_of_results(everything[0], allowed).headline if everything else "")
        self._check(everything)
        self._tested: dict[tuple[str, int], tuple[OneMetric, str]] = {}

    def rows(self, base: str, errors: Mapping[str, Sequence[str]] | None = None) -> list[Row]:
        """One row a group, each against the group `base`. errors: lines about runs that failed, by group."""
        rows = []
        for name, found in tracked(self.results.items(), "comparing groups of runs"):
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
            if len({digest for _, digest in tested}) == 1:
                runs.append([scores for scores, _ in tested])
                samples.append(tested[0][1])
        if not runs:
            return None
        return contrast_over_seeds(
            runs,
            list(weights.values()),
            0,
            same_units=len(set(samples)) == 1,
        )

    def _defined(self, name: str, seed: int) -> bool:
        """Whether the group has a run of this seed, and the metric a value in it."""
        return (
            seed in self.groups[name]
            and self.results[name][seed]["metrics"][self.metric]["value"] is not None
        )

    def _load(self, name: str, seed: int) -> tuple[OneMetric, str]:
        """The metric of a run, and a digest of the samples that it is of."""
        if (name, seed) not in self._tested:
            run, results = self.groups[name][seed], self.results[name][seed]
            kind = task_of_results(results, self.allowed)
            file = run.path / kind.predictions_file(results["split"])
            scores, digest = kind.read_scores(file)
            self._tested[name, seed] = OneMetric(scores, self.metric), digest
        return self._tested[name, seed]

    def _check(self, everything: Sequence[Mapping[str, Any]]) -> None:
        """Refuse runs that cannot stand in one table."""
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
