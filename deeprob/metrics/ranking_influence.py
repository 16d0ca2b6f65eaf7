"""Areas under the curves of thousands of classes, their intervals in closed form (infinitesimal jackknife).

An area T is a function of the samples' weights w; its influence on each sample is U_j = dT / dw_j at w = 1.
Summed over the samples of each independent unit, their squares add up to the variance of T that the bootstrap
of whole units tends to (Efron, The jackknife, the bootstrap and other resampling plans, SIAM 1982, section
6.3).

With P positives i, M negatives j, A_i the samples and H_i the positives that score at least s_i:
    AUC = sum_ij [s_j < s_i] / (P M), ties one half
        U_i = (share of negatives below s_i - AUC) / P,   U_j = (share of positives above s_j - AUC) / M
    AP  = sum_i (H_i / A_i) / P
        U_k = y_k (H_k / A_k - AP) / P + sum_{i: s_i <= s_k} (y_k / A_i - H_i / A_i^2) / P

The interval is symmetric around logit T, so that it stays inside 0..1. Only the positives are sorted: a class
of P positives among N samples costs N log P.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from deeprob.metrics.classification import Floats, Integers
from deeprob.metrics.statistics import LEVEL


def influence(scores: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """AUC and AP, float64 (2,), and the influence of each sample on them, (2, N).

    scores: (N,); positive: bool (N,), of which some are and some are not.
    """
    ascending = np.sort(scores[positive])
    P, N = len(ascending), len(scores)
    M = N - P
    at_most = np.searchsorted(ascending, scores, side="right")  # positives that score at most as much
    below = np.searchsorted(ascending, scores, side="left")
    y = positive.astype(np.float64)
    # Negatives among those that score between two neighbouring positives, or are tied with one.
    above_share = (P - 0.5 * (at_most + below)) / P
    auc = above_share[~positive].mean()
    first = np.searchsorted(ascending, ascending, side="left")
    lower = np.cumsum(np.bincount(at_most[~positive], minlength=P + 1))  # negatives with at_most <= k
    under = np.cumsum(np.bincount(below[~positive], minlength=P + 1))
    # Negatives below ascending[i]: those with at_most <= first[i]; at or below it: with below <= first[i].
    below_share = 0.5 * (lower[first] + under[first]) / M
    of_auc = (above_share - auc) / M
    of_auc[positive] = (below_share[below[positive]] - auc) / P
    everything = P - first + M - lower[first]  # samples that score at least ascending[i]
    H, A = (P - first).astype(np.float64), everything.astype(np.float64)
    ap = (H / A).mean()
    ratio = np.append(0, np.cumsum(H / A**2))[at_most]
    of_ap = y * np.append(0, np.cumsum(1 / A))[at_most] - ratio
    of_ap[positive] += (H / A)[below[positive]] - ap
    return np.array([auc, ap]), np.stack([of_auc, of_ap / P])


def areas_in_closed_form(
    probabilities: Floats, labels: Integers, units: Integers, *, step: Callable[[], None] = lambda: None
) -> tuple[Floats, Floats, Floats]:
    """Return what `deeprob.metrics.ranking.areas_of_classes` does, without resampling.

    step: called after each class. The ends are NaN where an area is 0 or 1, or there is one unit.
    """
    index = np.unique(units, return_inverse=True)[1]
    num_units, num_classes = int(index.max(initial=-1)) + 1, probabilities.shape[1]
    value = np.full((num_classes, 2), np.nan)
    error = np.full((num_classes, 2), np.nan)
    members = np.bincount(labels, minlength=num_classes)
    for c in range(num_classes):
        if 0 < members[c] < len(labels):
            value[c], of_sample = influence(np.ascontiguousarray(probabilities[:, c]), labels == c)
            of_unit = np.stack([np.bincount(index, row, minlength=num_units) for row in of_sample])
            error[c] = np.sqrt((of_unit**2).sum(axis=1))
        elif members[c]:
            value[c, 1] = 1.0
        step()
    if num_units < 2:
        return value, np.full_like(value, np.nan), np.full_like(value, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        reach = float(ndtri((1 + LEVEL) / 2)) * error / (value * (1 - value))
        low, high = expit(logit(value) - reach), expit(logit(value) + reach)
    known = (value > 0) & (value < 1) & (error > 0)
    return value, np.where(known, low, np.nan), np.where(known, high, np.nan)
