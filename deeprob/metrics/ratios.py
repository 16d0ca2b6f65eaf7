"""Intervals of thousands of ratios of sums, such as the recall of every class, on which few units bear each.

The same BCa bootstrap as `deeprob.metrics.statistics.bootstrap`, and the same resamples. Leaving out a unit
changes a ratio only where the unit bears on it, so the acceleration costs as much as there are such pairs,
not units times ratios; and the resampled ratios are kept for some columns at a time.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from deeprob.metrics.statistics import Floats, Intervals, intervals_of_resamples, resampled_totals

COLUMN_BYTES = 2**27  # of the resampled ratios that are held at once


def bootstrap_ratios(
    above: scipy.sparse.csr_array, below: scipy.sparse.csr_array, *, samples: int, seed: int
) -> Intervals:
    """95 % BCa intervals of sum_u above / sum_u below, both (U, M), by resampling the units, their rows.

    The ratios lie in 0..1, and a unit adds to `above` only where it adds to `below`. NaN where nothing is
    below. One that is 0 or 1 in every resample has Clopper and Pearson's bound, as in `bootstrap`.
    """
    num_units, num_ratios = below.shape
    value = _ratio(_total(above), _total(below))
    if num_units < 2 or samples < 1:
        unknown = np.full_like(value, np.nan)
        return Intervals(value, unknown, unknown)
    acceleration, bearing = _acceleration(above, below), np.asarray((below > 0).sum(axis=0))
    width = max(1, COLUMN_BYTES // (8 * samples))
    parts = []
    for start in range(0, num_ratios, width):
        cut = slice(start, min(start + width, num_ratios))
        size = cut.stop - start
        both = scipy.sparse.csr_array(scipy.sparse.hstack([above[:, cut], below[:, cut]], format="csr"))
        totals = resampled_totals(both, samples, seed)
        resampled = np.concatenate([_ratio(total[:, :size], total[:, size:]) for total in totals])
        of = value[cut], resampled, acceleration[cut]
        parts.append(intervals_of_resamples(*of, partial(bearing.__getitem__, cut)))
    low, high = (np.concatenate(ends) for ends in zip(*parts, strict=True))
    return Intervals(value, low, high)


def _total(sums: scipy.sparse.csr_array) -> Floats:
    return np.asarray(sums.sum(axis=0), np.float64)


def _ratio(above: Floats, below: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, above / below, np.nan)


def _acceleration(above: scipy.sparse.csr_array, below: scipy.sparse.csr_array) -> Floats:
    """BCa's acceleration (M,) from leaving out one unit at a time."""
    num_units, num_ratios = below.shape
    pairs = below.tocoo()
    columns: NDArray[np.integer] = pairs.coords[1]
    with_unit = above[pairs.coords[0], columns]
    total_above, total_below = _total(above), _total(below)
    value = _ratio(total_above, total_below)
    left_out = _ratio(total_above[columns] - np.asarray(with_unit), total_below[columns] - pairs.data)
    known = np.isfinite(left_out)

    def per_ratio(of_pairs: Floats) -> Floats:
        added = np.bincount(columns, np.where(known, of_pairs, 0.0), minlength=num_ratios)
        return np.asarray(added, np.float64)

    # The units that do not bear on a ratio leave it as it is.
    others = np.where(np.isfinite(value), num_units - np.bincount(columns, minlength=num_ratios), 0)
    same = np.nan_to_num(value)
    count = np.maximum(per_ratio(np.ones_like(left_out)) + others, 1)
    mean = (per_ratio(left_out) + others * same) / count
    deviation = mean[columns] - left_out
    square = per_ratio(deviation**2) + others * (mean - same) ** 2
    cube = per_ratio(deviation**3) + others * (mean - same) ** 3
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nan_to_num(cube / (6 * square**1.5)))
