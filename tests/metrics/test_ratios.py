"""Ratios of thousands of classes: the same intervals as the bootstrap that takes any metric."""

import numpy as np
import pytest
import scipy.sparse
import scipy.stats

from deeprob.metrics import ratios
from deeprob.metrics.ratios import bootstrap_ratios
from deeprob.metrics.statistics import bootstrap


@pytest.fixture
def sums():
    """Of 60 units and 9 classes, one never there, one always right, one always wrong: above, below."""
    rng = np.random.default_rng(0)
    below = rng.integers(0, 4, (60, 9)) * (rng.random((60, 9)) < 0.4)
    above = rng.binomial(below, 0.7)
    below[:, 2] = above[:, 2] = 0
    above[:, 5], above[:, 6] = below[:, 5], 0
    return above.astype(float), below.astype(float)


def of_bootstrap(above, below, **options):
    def statistic(total):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total[..., 9:] > 0, total[..., :9] / total[..., 9:], np.nan)

    return bootstrap(scipy.sparse.csr_array(np.concatenate([above, below], axis=1)), statistic, **options)


@pytest.mark.parametrize("size", [2**27, 1], ids=["all at once", "a ratio at a time"])
def test_intervals_are_those_of_the_bootstrap(sums, monkeypatch, size):
    monkeypatch.setattr(ratios, "COLUMN_BYTES", size)
    expected = of_bootstrap(*sums, samples=300, seed=4)
    found = bootstrap_ratios(*map(scipy.sparse.csr_array, sums), samples=300, seed=4)
    for end in ("value", "low", "high"):
        np.testing.assert_allclose(getattr(found, end), getattr(expected, end), rtol=1e-9)


def test_a_class_that_is_always_right_has_the_exact_bound_of_its_own_units(sums):
    found = bootstrap_ratios(*map(scipy.sparse.csr_array, sums), samples=100, seed=0)
    n = int((sums[1][:, 5] > 0).sum())
    assert found.low[5] == pytest.approx(scipy.stats.binomtest(n, n).proportion_ci().low, rel=1e-12)
    assert found.high[5] == 1


def test_one_unit_has_no_interval(sums):
    found = bootstrap_ratios(*(scipy.sparse.csr_array(of[:1]) for of in sums), samples=100, seed=0)
    assert np.isnan(found.low).all()
