"""Intervals against scipy, coverage on simulated data, paired tests and Holm's correction."""

import numpy as np
import pytest
import scipy.sparse
import scipy.stats

from deeprob.metrics import statistics
from deeprob.metrics.contrasts import contrast_over_seeds
from deeprob.metrics.scores import SummedScores
from deeprob.metrics.statistics import bootstrap, holm, paired_difference, spread_of, sums_by_unit


def ratio(sums: np.ndarray) -> np.ndarray:
    """Mean of the samples: the first column holds what they add, the second their number."""
    return sums[..., :1] / sums[..., 1:]


def rows_of(values: np.ndarray) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array(np.stack([values, np.ones_like(values)], 1).astype(np.float64))


def test_sums_by_unit_add_the_rows_of_a_unit():
    rows = scipy.sparse.csr_array(np.array([[1.0, 0], [2, 1], [4, 0], [8, 1]]))
    np.testing.assert_array_equal(
        sums_by_unit(rows, np.array([30, 10, 30, 20])).toarray(), [[2, 1], [8, 1], [5, 0]]
    )


def test_interval_equals_scipys_bca():
    values = np.random.default_rng(0).gamma(2.0, size=60)
    ours = bootstrap(rows_of(values), ratio, samples=40000, seed=1)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=40000, method="BCa", rng=2
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low[0] == pytest.approx(theirs.low, abs=0.02 * width)
    assert ours.high[0] == pytest.approx(theirs.high, abs=0.02 * width)


@pytest.mark.parametrize(("num_units", "correlated"), [(80, False), (80, True)])
def test_interval_covers_the_truth_as_often_as_it_says(num_units, correlated):
    # Units of 1 to 6 samples; correlated samples of one unit share most of their chance to be right.
    rng = np.random.default_rng(3)
    truth, trials, covered = 0.8, 600, 0
    for trial in range(trials):
        sizes = rng.integers(1, 7, num_units)
        chance = rng.beta(4, 1, num_units) if correlated else np.full(num_units, truth)
        sums = scipy.sparse.csr_array(np.stack([rng.binomial(sizes, chance), sizes], 1).astype(np.float64))
        interval = bootstrap(sums, ratio, samples=400, seed=trial)
        covered += bool(interval.low[0] <= truth <= interval.high[0])
    assert 0.93 <= covered / trials <= 0.97


def test_resampling_samples_of_correlated_units_would_be_too_sure():
    units = np.repeat(np.arange(50), 10)
    right = np.repeat(np.random.default_rng(4).integers(2, size=50), 10)
    of_units = bootstrap(sums_by_unit(rows_of(right), units), ratio)
    of_samples = bootstrap(rows_of(right), ratio)
    assert of_units.high - of_units.low > 2.5 * (of_samples.high - of_samples.low)


def test_the_same_seed_gives_the_same_interval():
    rows = rows_of(np.random.default_rng(5).normal(size=30))
    first, second = bootstrap(rows, ratio, seed=7), bootstrap(rows, ratio, seed=7)
    assert (first.low, first.high) == (second.low, second.high)


def test_all_units_perfect_is_no_certainty():
    interval = bootstrap(rows_of(np.ones(100)), ratio)
    assert (interval.value[0], interval.high[0]) == (1, 1)
    exact = scipy.stats.binomtest(100, 100).proportion_ci(method="exact")
    assert interval.low[0] == pytest.approx(exact.low, rel=1e-12)


def test_all_units_wrong_is_no_certainty():
    interval = bootstrap(rows_of(np.zeros(40)), ratio)
    exact = scipy.stats.binomtest(0, 40).proportion_ci(method="exact")
    assert (interval.low[0], interval.high[0]) == (0, pytest.approx(exact.high, rel=1e-12))


def test_the_exact_bound_counts_the_units_that_bear_on_the_metric():
    def share_of_rare(sums: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(sums[..., 1:] > 0, sums[..., :1] / sums[..., 1:], np.nan)

    sums = np.zeros((400, 2))
    sums[:30] = 1  # thirty units hold the rare class, all of them right
    interval = bootstrap(scipy.sparse.csr_array(sums), share_of_rare)
    assert interval.low[0] == pytest.approx(scipy.stats.binomtest(30, 30).proportion_ci().low, rel=1e-12)


def test_one_unit_has_no_interval():
    interval = bootstrap(rows_of(np.array([0.5])), ratio)
    assert interval.value[0] == 0.5
    assert np.isnan(interval.low[0])
    assert np.isnan(interval.high[0])


def test_resamples_in_which_a_metric_is_not_defined_are_left_out():
    def share_of_rare(sums: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(sums[..., 1:] > 0, sums[..., :1] / sums[..., 1:], np.nan)

    sums = np.zeros((20, 2))
    sums[:2] = [[1, 2], [2, 2]]  # the only two units that hold the rare class
    interval = bootstrap(scipy.sparse.csr_array(sums), share_of_rare)
    assert 0.5 <= interval.low[0] <= 0.75 <= interval.high[0] <= 1


def test_paired_interval_is_narrower_than_two_separate_ones():
    rng = np.random.default_rng(6)
    hard = rng.random(300)
    a, b = (hard < 0.8).astype(float), (hard < 0.75).astype(float)
    difference = paired_difference(rows_of(a), rows_of(b), ratio)
    apart = bootstrap(rows_of(a), ratio)
    assert difference.high[0] - difference.low[0] < 0.7 * (apart.high[0] - apart.low[0])
    assert difference.value[0] == pytest.approx(a.mean() - b.mean())


def test_permutation_p_value_equals_scipys():
    rng = np.random.default_rng(7)
    a = rng.normal(0.25, 1, 60)
    b = rng.normal(0.0, 1, 60)
    ours = paired_difference(rows_of(a), rows_of(b), ratio, samples=20000)
    theirs = scipy.stats.permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", n_resamples=20000, rng=1
    )
    assert ours.p_value[0] == pytest.approx(theirs.pvalue, abs=0.015)


def test_a_model_does_not_differ_from_itself():
    rows = rows_of(np.random.default_rng(8).integers(2, size=50).astype(float))
    difference = paired_difference(rows, rows, ratio)
    assert (difference.value[0], difference.low[0], difference.high[0]) == (0, 0, 0)
    assert difference.p_value[0] == 1
    assert difference.effect_size[0] == 0


def test_a_clear_difference_has_the_smallest_p_value_there_can_be():
    difference = paired_difference(rows_of(np.ones(40)), rows_of(np.zeros(40)), ratio, samples=999)
    assert difference.p_value[0] == pytest.approx(0.001)


def test_holm_follows_the_worked_example():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def test_holm_never_exceeds_one():
    assert holm(np.array([0.6, 0.7])).tolist() == [1, 1]


def scored(runs):
    """The sums of each run of each seed as scores."""
    return [[SummedScores(("ratio",), sums, ratio, (1,)) for sums in of_seed] for of_seed in runs]


def simulated_pairs(rng: np.random.Generator, num_seeds: int, spread: float) -> list[tuple]:
    """Runs that are right where a unit's hardness lies below their skill; true difference 0.0625."""
    hardness = rng.random(150)

    def run(skill: float) -> scipy.sparse.csr_array:
        return rows_of((0.8 * hardness + 0.2 * rng.random(150) < skill + spread * rng.normal()).astype(float))

    return [(run(0.52), run(0.47)) for _ in range(num_seeds)]


@pytest.mark.parametrize(("num_seeds", "spread"), [(2, 0.06), (3, 0.03), (5, 0.03)])
def test_interval_over_seeds_covers_the_truth(num_seeds, spread):
    rng, trials = np.random.default_rng(9), 250
    covered = 0
    for trial in range(trials):
        pairs = simulated_pairs(rng, num_seeds, spread)
        found = contrast_over_seeds(scored(pairs), (1, -1), 0, same_units=True, samples=100, seed=trial)
        covered += found.low <= 0.0625 <= found.high
    assert 0.93 <= covered / trials <= 0.99


def test_p_value_over_seeds_agrees_with_the_interval():
    pairs = simulated_pairs(np.random.default_rng(1), 3, 0.02)
    found = contrast_over_seeds(scored(pairs), (1, -1), 0, same_units=True)
    assert (found.p_value < 0.05) == (not found.low <= 0 <= found.high)


def test_one_seed_leaves_the_spread_of_training_out():
    pairs = simulated_pairs(np.random.default_rng(2), 1, 0.0)
    found = contrast_over_seeds(scored(pairs), (1, -1), 0, same_units=True, samples=4000)
    paired = paired_difference(*pairs[0], ratio, samples=4000)
    assert found.value == pytest.approx(paired.value[0])
    assert found.low == pytest.approx(paired.low[0], abs=0.01)


def test_runs_that_are_equal_do_not_differ_over_seeds():
    rows = rows_of(np.random.default_rng(3).integers(2, size=40).astype(float))
    found = contrast_over_seeds(scored([(rows, rows), (rows, rows)]), (1, -1), 0, same_units=True)
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_seeds_tested_on_other_units_are_resampled_apart():
    pairs = simulated_pairs(np.random.default_rng(4), 2, 0.0)
    together = contrast_over_seeds(scored(pairs), (1, -1), 0, same_units=True)
    apart = contrast_over_seeds(scored(pairs), (1, -1), 0, same_units=False)
    assert together.value == apart.value
    assert together.standard_error != apart.standard_error


def test_a_contrast_of_four_runs_is_the_difference_of_differences():
    values = np.random.default_rng(6).random((4, 30))
    runs = [[rows_of(v) for v in values]]
    found = contrast_over_seeds(scored(runs), (1, -1, -1, 1), 0, same_units=True)
    a, b, c, d = values.mean(1)
    assert found.value == pytest.approx((a - b) - (c - d))
    spread = (values[0] - values[1] - values[2] + values[3]).std() / np.sqrt(30)
    assert found.standard_error == pytest.approx(spread, rel=0.1)


def test_what_no_resample_changes_has_no_interval():
    drawn = np.stack([np.ones(200), np.linspace(0, 1, 200)], axis=1)
    low, high = spread_of(np.array([1.0, 0.5]), drawn)
    assert np.isnan([low[0], high[0]]).all()
    np.testing.assert_allclose([low[1], high[1]], [0.025, 0.975], atol=0.01)


def test_leaving_out_groups_of_units_estimates_what_leaving_out_each_does(monkeypatch):
    sums = rows_of(np.random.default_rng(9).exponential(size=4000))
    each = statistics._acceleration(sums, ratio)
    monkeypatch.setattr(statistics, "MOST_LEFT_OUT", 1)
    assert statistics._acceleration(sums, ratio) == pytest.approx(each, rel=0.2)
