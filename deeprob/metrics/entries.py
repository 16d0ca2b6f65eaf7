"""Estimates as results.json holds them: {"value", "ci95", "n"}, None for what is not defined."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from deeprob.metrics.statistics import LEVEL, Difference, Intervals, holm


def as_metrics(names: tuple[str, ...], intervals: Intervals, count: int) -> dict[str, dict[str, Any]]:
    """Every metric by name, from `count` samples."""
    return {name: as_entry(intervals, i, count) for i, name in enumerate(names)}


def as_differences(names: tuple[str, ...], found: Mapping[str, Difference]) -> dict[str, Any]:
    """Differences to every baseline, their p-values corrected together."""
    adjusted = iter(holm(np.array([p for difference in found.values() for p in difference.p_value])).tolist())
    return {
        baseline: {
            name: {
                "value": finite(difference.value[i]),
                "ci95": ends(difference.low[i], difference.high[i]),
                "p_value": finite(next(adjusted)),
            }
            for i, name in enumerate(names)
        }
        for baseline, difference in found.items()
    }


def as_entry(intervals: Intervals, index: int, count: int) -> dict[str, Any]:
    """One metric, from `count` samples."""
    return {
        "value": finite(intervals.value[index]),
        "ci95": ends(intervals.low[index], intervals.high[index]),
        "n": count,
    }


def interval_method(samples: int, units: int) -> dict[str, Any]:
    """How the intervals were made: resamples of how many independent units."""
    return {
        "method": "BCa bootstrap over independent units",
        "level": LEVEL,
        "samples": samples,
        "units": units,
    }


def finite(value: float) -> float | None:
    """The value, or None where it is not defined."""
    return float(value) if math.isfinite(value) else None


def ends(low: float, high: float) -> list[float] | None:
    """An interval, or None where it is not defined."""
    return [float(low), float(high)] if math.isfinite(low) and math.isfinite(high) else None
