"""An evaluation as results.json holds it: numbers {"value", "ci95", "n"}, None for what is not defined."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.metrics.scores import Evaluation, Scores
from deeprob.metrics.statistics import LEVEL, Difference, Intervals, holm


def measured(evaluation: Evaluation, *, samples: int, seed: int, unit: str | None = None) -> dict[str, Any]:
    """Metrics, baselines and the differences to them, by class and slice, with how intervals were made.

    samples: resamples behind each interval; evaluation.most_samples at most. unit: what was chosen to be
    independent, `frame` or `group`; None: as the data set has it.
    """
    scores = evaluation.scores
    samples = min(samples, evaluation.most_samples or samples)
    chosen = {"samples": samples, "seed": seed}
    found = {name: scores.difference(of, **chosen) for name, of in evaluation.baselines.items()}
    results = {
        "metrics": _metrics(scores, scores.intervals(**chosen)),
        "baselines": {
            name: _metrics(of, of.intervals(**chosen)) for name, of in evaluation.baselines.items()
        },
        "differences": _differences(scores, found),
        "per_class": evaluation.per_class,
        **evaluation.more,
        "interval": {"method": scores.method, "level": LEVEL, "samples": samples, "units": scores.num_units},
    }
    if evaluation.slices:
        results |= {"slices": evaluation.slices, "sliced": evaluation.sliced}
    notes = list(evaluation.notes)
    if scores.num_units < 2:
        fix = "; with unit=frame every image counts alone" if unit == "group" else ""
        notes.append(f"All samples are of one independent unit: there is no interval{fix}.")
    if notes:
        results["notes"] = notes
    return results


def _metrics(scores: Scores, intervals: Intervals) -> dict[str, dict[str, Any]]:
    return {name: as_entry(intervals, i, scores.counts[i]) for i, name in enumerate(scores.names)}


def _differences(scores: Scores, found: Mapping[str, Difference]) -> dict[str, Any]:
    """Differences to every baseline, their p-values corrected together."""
    p_values = np.array([difference.p_value for difference in found.values()])
    known = np.isfinite(p_values)
    p_values[known] = holm(p_values[known])
    return {
        baseline: {
            name: entry(d.value[i], d.low[i], d.high[i], scores.counts[i]) | {"p_value": finite(p[i])}
            for i, name in enumerate(scores.names)
        }
        for (baseline, d), p in zip(found.items(), p_values, strict=True)
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


def as_entry(intervals: Intervals, index: int, count: int) -> dict[str, Any]:
    """One metric, from `count` samples."""
    return entry(intervals.value[index], intervals.low[index], intervals.high[index], count)


def entry(value: float, low: float, high: float, count: int) -> dict[str, Any]:
    """A number as results.json holds it."""
    known = math.isfinite(low) and math.isfinite(high)
    return {
        "value": finite(value),
        "ci95": [float(low), float(high)] if known else None,
        "n": int(count),
    }


def finite(value: float) -> float | None:
    """The value, or None where it is not defined."""
    return float(value) if math.isfinite(value) else None
