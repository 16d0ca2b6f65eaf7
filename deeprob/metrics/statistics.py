"""Intervals and comparisons by resampling the independent unit (an image, a scene), never the crop inside it.

A metric enters as sums (U, S), what each of U units adds, and a function of their total. Resampling units
with replacement is a product of counts (B, U) with the sums, so 2,000 resamples cost one sparse matrix
product.

Sources: Efron, Better bootstrap confidence intervals, JASA 82(397), 1987 (bias-corrected and accelerated,
BCa); Davison and Hinkley, Bootstrap methods and their application, 1997, section 2.4 (clustered data);
Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 6, 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]  # sums (..., S) -> metrics (..., M)

LEVEL = 0.95
CHUNK_BYTES = 64 * 2**20
MOST_LEFT_OUT, JACKKNIFE_GROUPS = 2**27, 1000


@dataclass(frozen=True)
class Intervals:
    """M estimates with the ends of their confidence intervals, float64 (M,) each; NaN where not defined."""

    value: Floats
    low: Floats
    high: Floats


def sums_by_unit(rows: scipy.sparse.csr_array, units: NDArray[np.int64]) -> scipy.sparse.csr_array:
    """Sum the rows (N, S) of the same unit: CSR (U, S), units in increasing order of their number (N,)."""
    _, index = np.unique(units, return_inverse=True)
    num_units = int(index.max()) + 1 if len(index) else 0
    member = scipy.sparse.csr_array(
        (np.ones(len(index)), (index, np.arange(len(index)))), shape=(num_units, len(index))
    )
    return scipy.sparse.csr_array(member @ rows)


def bootstrap(
    sums: scipy.sparse.csr_array,
    statistic: Statistic,
    *,
    samples: int = 2000,
    seed: int = 0,
    proportions: bool | NDArray[np.bool_] = True,
) -> Intervals:
    """95 % BCa intervals of every metric of `statistic` by resampling the units, the rows of sums (U, S).

    proportions: whether the metrics lie in 0..1, all of them or each (M,). Where one is exactly 0 or 1 in
    every resample, the bootstrap has zero spread; its inner end is then Clopper and Pearson's exact bound
    for n of n units, 0.025^(1/n), n counting the units that bear on the metric (those that hold a class, for
    its recall).
    """
    num_units = sums.shape[0]
    value = statistic(_total(sums))
    if num_units < 2 or samples < 1:
        unknown = np.full_like(value, np.nan)
        return Intervals(value, unknown, unknown)
    resampled = _resampled(sums, statistic, samples, seed)
    acceleration = _acceleration(sums, statistic)
    if not np.any(proportions):
        return Intervals(value, *_bca(value, resampled, acceleration))
    bearing = partial(_units_with, sums, statistic)
    return Intervals(value, *intervals_of_resamples(value, resampled, acceleration, bearing, proportions))


def intervals_of_resamples(
    value: Floats,
    resampled: Floats,
    acceleration: Floats,
    bearing: Callable[[], NDArray[np.int64]],
    proportions: bool | NDArray[np.bool_] = True,
) -> tuple[Floats, Floats]:
    """Find the ends (M,), (M,) of BCa intervals of value (M,) from resamples (B, M).

    bearing: counts the units that bear on each, (M,), for the exact bound of `bootstrap`.
    """
    low, high = _bca(value, resampled, acceleration)
    constant = np.nanmin(resampled, axis=0, initial=np.inf) == np.nanmax(resampled, axis=0, initial=-np.inf)
    constant &= proportions
    perfect, all_wrong = constant & (value == 1), constant & (value == 0)
    if perfect.any() or all_wrong.any():
        tail = ((1 - LEVEL) / 2) ** (1 / np.maximum(bearing(), 1))
        low, high = np.where(perfect, tail, low), np.where(all_wrong, 1 - tail, high)
    return low, high


@dataclass(frozen=True)
class Difference:
    """Metrics of a minus those of b on the same samples, float64 (M,) each.

    p_value: two-sided, of the null hypothesis that the two do equally well; effect_size: the difference
    over its bootstrap standard error, in standard errors.
    """

    value: Floats
    low: Floats
    high: Floats
    p_value: Floats
    effect_size: Floats


def paired_difference(
    a: scipy.sparse.csr_array,
    b: scipy.sparse.csr_array,
    statistic: Statistic,
    *,
    samples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Compare two models on the same units: BCa interval of the difference, p-value by permutation.

    a, b: sums (U, S) whose rows are the same units. Under the null hypothesis the names a and b are
    exchangeable within each unit (Pitman 1937); p = (1 + permutations at least as far from 0) / (1 +
    permutations).
    """
    size = a.shape[1]

    def difference(both: Floats) -> Floats:
        return statistic(both[..., :size]) - statistic(both[..., size:])

    both = scipy.sparse.csr_array(scipy.sparse.hstack([a, b], format="csr"))
    value = difference(_total(both))
    low = high = np.full_like(value, np.nan)
    resampled = _resampled(both, difference, samples, seed)
    if both.shape[0] > 1 and samples > 0:
        low, high = _bca(value, resampled, _acceleration(both, difference))
    exchanged = np.concatenate([difference(total) for total in _exchanged_totals(a, b, samples, seed)])
    tolerance = 1e-12  # exchanges that change nothing must count as equally far, whatever the rounding
    farther = (np.abs(exchanged) >= np.abs(value) - tolerance).sum(axis=0)
    p_value = np.where(np.isfinite(value), (1 + farther) / (1 + samples), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        effect_size = np.where(value == 0, 0.0, value / resampled.std(axis=0))
    return Difference(value, low, high, p_value, effect_size)


def holm(p_values: Floats) -> Floats:
    """Adjust the p-values (M,) of a family of tests, so that any false finding is as rare as asked of one."""
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _total(sums: scipy.sparse.csr_array) -> Floats:
    return np.asarray(sums.sum(axis=0), dtype=np.float64)


def _resampled(sums: scipy.sparse.csr_array, statistic: Statistic, samples: int, seed: int) -> Floats:
    """Every metric in `samples` resamples of the units, (samples, M)."""
    return np.concatenate([statistic(total) for total in resampled_totals(sums, samples, seed)])


def _rows_in_a_chunk(num_units: int, size: int) -> int:
    return max(1, CHUNK_BYTES // (8 * max(num_units, size, 1)))


def resampled_totals(sums: scipy.sparse.csr_array, samples: int, seed: int) -> Iterator[Floats]:
    """Totals (b, S) of `samples` resamples of the units, a chunk at a time."""
    rng = np.random.default_rng(seed)
    num_units, size = sums.shape
    rows = _rows_in_a_chunk(num_units, size)
    for start in range(0, samples, rows):
        count = min(rows, samples - start)
        drawn = rng.integers(num_units, size=(count, num_units)) + num_units * np.arange(count)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * num_units).reshape(count, num_units)
        yield np.asarray(weights.astype(np.float64) @ sums)


def _exchanged_totals(
    a: scipy.sparse.csr_array, b: scipy.sparse.csr_array, samples: int, seed: int
) -> Iterator[Floats]:
    """Totals (n, 2 S) after exchanging a and b in a random half of the units, a chunk at a time."""
    rng = np.random.default_rng([seed, 1])
    num_units, size = a.shape
    total_a, total_b, change = _total(a), _total(b), scipy.sparse.csr_array(b - a)
    rows = _rows_in_a_chunk(num_units, 2 * size)
    for start in range(0, samples, rows):
        exchange = rng.integers(2, size=(min(rows, samples - start), num_units)).astype(np.float64)
        moved = np.asarray(exchange @ change)
        yield np.concatenate([total_a + moved, total_b - moved], axis=1)


def _units_with(sums: scipy.sparse.csr_array, statistic: Statistic) -> NDArray[np.int64]:
    """Count the units on which each metric (M,) is defined by themselves."""
    rows = _rows_in_a_chunk(1, sums.shape[1])
    parts = [np.isfinite(statistic(sums[i : i + rows].toarray())) for i in range(0, sums.shape[0], rows)]
    return np.asarray(np.concatenate(parts).sum(axis=0))


def _acceleration(sums: scipy.sparse.csr_array, statistic: Statistic) -> Floats:
    """BCa's acceleration (M,) from leaving out one unit at a time.

    Where that is more than MOST_LEFT_OUT numbers, JACKKNIFE_GROUPS random groups of units are left out in
    place of single units, which estimates the same (Shao and Tu, The jackknife and bootstrap, 1995, section
    2.3): over G groups of U / G units the skewness of a group falls as 1 / sqrt(U / G), and so does the rest.
    """
    total = _total(sums)
    if sums.shape[0] * sums.shape[1] > MOST_LEFT_OUT and sums.shape[0] > JACKKNIFE_GROUPS:
        group = np.random.default_rng(0).permutation(sums.shape[0]) % JACKKNIFE_GROUPS
        sums = sums_by_unit(sums, group)
    rows = _rows_in_a_chunk(1, sums.shape[1])
    left_out = np.concatenate(
        [statistic(total - sums[i : i + rows].toarray()) for i in range(0, sums.shape[0], rows)]
    )
    count = np.maximum(np.isfinite(left_out).sum(axis=0), 1)
    deviation = np.nansum(left_out, axis=0) / count - left_out
    with np.errstate(invalid="ignore", divide="ignore"):
        skew = np.nansum(deviation**3, axis=0) / (6 * np.nansum(deviation**2, axis=0) ** 1.5)
    return np.asarray(np.nan_to_num(skew))


def _bca(value: Floats, resampled: Floats, acceleration: Floats) -> tuple[Floats, Floats]:
    """Find the ends (M,), (M,) of the BCa interval from resamples (B, M); those that are NaN are left out."""
    ordered = np.sort(resampled, axis=0)  # NaN last
    count = np.isfinite(ordered).sum(axis=0)
    usable = np.maximum(count, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        below = ((ordered < value).sum(axis=0) + 0.5 * (ordered == value).sum(axis=0)) / usable
        # A finite bias, also where every resample lies on one side of the estimate.
        bias = ndtri(np.clip(below, 0.5 / usable, 1 - 0.5 / usable))
        ends = []
        for quantile in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
            z = bias + ndtri(quantile)
            share = ndtr(bias + z / (1 - acceleration * z))
            position = np.clip(share, 0, 1) * (usable - 1)
            left = np.floor(position).astype(np.int64)
            right = np.minimum(left + 1, usable - 1)
            at_left = np.take_along_axis(ordered, left[None], 0)[0]
            at_right = np.take_along_axis(ordered, right[None], 0)[0]
            ends.append(at_left + (position - left) * (at_right - at_left))
    known = (count > 0) & np.isfinite(value)
    return np.where(known, ends[0], np.nan), np.where(known, ends[1], np.nan)


def bias_corrected(value: Floats, resampled: Floats) -> tuple[Floats, Floats]:
    """Find the ends (M,), (M,) of the bias-corrected percentile interval of value (M,) from resamples (B, M).

    For what is no function of sums, so that leaving out one unit at a time would cost too much for BCa.
    """
    return _bca(value, resampled, np.zeros_like(value))


def spread_of(value: Floats, resampled: Floats) -> tuple[Floats, Floats]:
    """Like `bias_corrected`; NaN where no resample differs, as [1, 1] would overstate what is known."""
    if len(resampled) == 0:
        return np.full_like(value, np.nan), np.full_like(value, np.nan)
    low, high = bias_corrected(value, resampled)
    known = low < high
    return np.where(known, low, np.nan), np.where(known, high, np.nan)
