"""Many runs in one table: groups of runs that differ by their seed alone, each against a base group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from deeprob.errors import InputError
from deeprob.evaluation.evaluate import unit_sums
from deeprob.evaluation.metrics.classification import metric_names, metrics_of_sums
from deeprob.evaluation.predictions import Predictions
from deeprob.evaluation.statistics import SeedDifference, difference_over_seeds, holm
from deeprob.runs import Run


@dataclass(frozen=True)
class Row:
    """One group of runs.

    values: seed -> metric. difference: to the base group over the seeds that both have, its p-value corrected
    for the number of rows; None for the base itself, and where the runs share no seed or no samples.
    seconds, parameters: means over the runs, None where not known. errors: one line for each failed run.
    """

    name: str
    values: Mapping[int, float] = field(default_factory=dict)
    interval: Sequence[float] | None = None
    difference: SeedDifference | None = None
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


def compare(
    groups: Mapping[str, Mapping[int, Run]],
    base: str,
    metric: str,
    errors: Mapping[str, Sequence[str]] | None = None,
) -> list[Row]:
    """Tabulate groups of evaluated runs (name -> seed -> run), each against the group `base`.

    errors: lines about runs that failed, by group. Raises InputError where the runs are of different tasks or
    lack the metric, or predictions are missing.
    """
    results = {
        name: {seed: run.read_results() for seed, run in runs.items()} for name, runs in groups.items()
    }
    _check(results, metric)
    predictions = {
        name: {seed: Predictions.load(run, results[name][seed]["split"]) for seed, run in runs.items()}
        for name, runs in groups.items()
    }
    rows = []
    for name in groups:
        found = results[name]
        rows.append(
            Row(
                name,
                {seed: r["metrics"][metric]["value"] for seed, r in found.items()},
                interval=next((r["metrics"][metric]["ci95"] for r in found.values()), None),
                difference=None
                if name == base
                else _difference(predictions[name], predictions[base], metric),
                seconds=_mean(found, "train_seconds"),
                parameters=_mean(found, "parameters"),
                num_samples=next((r["metrics"][metric]["n"] for r in found.values()), 0),
                errors=tuple((errors or {}).get(name, ())),
            )
        )
    return _corrected(rows)


def _check(results: Mapping[str, Mapping[int, Mapping[str, Any]]], metric: str) -> None:
    """Refuse runs that cannot stand in one table."""
    all_results = [r for of_group in results.values() for r in of_group.values()]
    for key in ("task", "split"):
        found = sorted({str(r[key]) for r in all_results})
        if len(found) > 1:
            raise InputError(
                f"runs of different {key}s: {', '.join(found)}", where="one table", expected="one"
            )
    for r in all_results:
        if metric not in r["metrics"]:
            raise InputError(
                f"no metric {metric!r}", where=f"run {r['run_id']}", expected=", ".join(r["metrics"])
            )


def _difference(
    group: Mapping[int, Predictions], base: Mapping[int, Predictions], metric: str
) -> SeedDifference | None:
    """Compare two groups over the seeds in which both were tested on the same samples."""
    shared = [s for s in group if s in base and _same_samples(group[s], base[s])]
    if not shared:
        return None
    num_classes = len(group[shared[0]].classes)
    pairs = [
        (unit_sums(g.probabilities, g.labels, g.units), unit_sums(b.probabilities, b.labels, b.units))
        for g, b in ((group[s], base[s]) for s in shared)
    ]
    same_units = all(_same_samples(base[s], base[shared[0]]) for s in shared)
    column = metric_names(num_classes).index(metric)
    return difference_over_seeds(pairs, metrics_of_sums, column, same_units=same_units)


def _same_samples(a: Predictions, b: Predictions) -> bool:
    return (
        list(a.classes) == list(b.classes)
        and np.array_equal(a.labels, b.labels)
        and np.array_equal(a.units, b.units)
        and list(a.keys) == list(b.keys)
    )


def _mean(results: Mapping[int, Mapping[str, Any]], cost: str) -> float | None:
    known = [r["cost"][cost] for r in results.values() if r["cost"].get(cost) is not None]
    return float(np.mean(known)) if known else None


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """Correct the p-values of all differences in the table together."""
    adjusted = iter(holm(np.array([r.difference.p_value for r in rows if r.difference])).tolist())
    return [
        replace(r, difference=replace(r.difference, p_value=next(adjusted))) if r.difference else r
        for r in rows
    ]
