"""Differences between two ways of training, over seeds and over what both were judged on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deeprob.metrics.statistics import LEVEL, Floats


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of metrics, the mean over seeds: standard error, 95 % interval, two-sided p-value."""

    value: float
    standard_error: float
    low: float
    high: float
    p_value: float


class Resampled(Protocol):
    """Metrics of a run over independent units: deeprob.metrics.scores.Scores."""

    @property
    def value(self) -> Floats: ...

    @property
    def num_units(self) -> int: ...

    def resampled(self, samples: int, seed: int) -> Floats: ...


def contrast_over_seeds(
    runs: Sequence[Sequence[Resampled]],
    weights: Sequence[float],
    metric: int,
    *,
    same_units: bool,
    samples: int = 2000,
    seed: int = 0,
) -> Contrast:
    """Weigh the metrics of several ways of training, one run of each a seed: (1, -1) is their difference.

    runs: for each seed the scores of every run, all of the same units. Two things vary: the training (between
    seeds, S - 1 degrees of freedom) and the test set (between units, by bootstrap). Each enters the interval
    with its own variance and Student quantile: half^2 = sum_i t_i^2 v_i (Howe, Approximate confidence limits
    on the mean of X + Y, JASA 69, 1974), which with two seeds is wide, as it must be.
    metric: number of the metric. same_units: all seeds were tested on the same units. With one seed the
    training's share is not known and is left out.
    """
    from scipy.optimize import brentq
    from scipy.stats import t as student

    def weighed(values: Iterable[Floats]) -> Floats:
        return np.asarray(sum(w * v[..., metric] for w, v in zip(weights, values, strict=True)))

    found = np.array([float(weighed([scores.value for scores in of_seed])) for of_seed in runs])
    resampled = [  # the same seed draws the same units for every run
        weighed([scores.resampled(samples, seed if same_units else seed + i) for scores in of_seed])
        for i, of_seed in enumerate(runs)
    ]
    num_seeds, num_units = len(runs), min(scores.num_units for of_seed in runs for scores in of_seed)
    of_units = float(np.var(np.mean(resampled, axis=0)))
    of_seeds = float(np.var(found, ddof=1)) / num_seeds if num_seeds > 1 else 0.0
    value, variance = float(found.mean()), of_units + of_seeds
    if variance == 0:
        return Contrast(value, 0.0, value, value, 1.0 if value == 0 else 0.0)

    def reach(tail: float) -> float:
        seeds = float(student.isf(tail, num_seeds - 1)) ** 2 * of_seeds if of_seeds else 0.0
        return math.sqrt(seeds + float(student.isf(tail, max(num_units - 1, 1))) ** 2 * of_units)

    half = reach((1 - LEVEL) / 2)
    # The smallest level whose interval leaves 0 out; below 1e-12 nothing is distinguished.
    smallest = 1e-12
    if value == 0:
        p_value = 1.0
    elif reach(smallest) <= abs(value):
        p_value = 2 * smallest
    else:
        p_value = 2 * float(brentq(lambda tail: reach(tail) - abs(value), smallest, 0.5, xtol=1e-14))
    return Contrast(value, math.sqrt(variance), value - half, value + half, p_value)
