"""ROC and precision-recall curves against scikit-learn, with and without ties, weights and missing kinds."""

import numpy as np
import pytest
from sklearn import metrics as sk

from deeprob.metrics.ranking import Ranking, areas_of_classes


@pytest.fixture(params=["distinct", "ties"])
def case(request):
    rng = np.random.default_rng(3)
    positive = rng.random(300) < 0.3
    scores = rng.normal(size=300) + positive
    return (np.round(scores) if request.param == "ties" else scores), positive


def test_areas_are_scikit_learns(case):
    scores, positive = case
    auc, ap = Ranking(scores, positive).areas()
    assert auc == pytest.approx(sk.roc_auc_score(positive, scores), abs=1e-9)
    assert ap == pytest.approx(sk.average_precision_score(positive, scores), abs=1e-9)


def test_weighted_areas_are_scikit_learns(case):
    scores, positive = case
    weights = np.random.default_rng(5).integers(0, 4, (3, 300)).astype(float)
    for found, w in zip(Ranking(scores, positive).areas(weights), weights, strict=True):
        assert found[0] == pytest.approx(sk.roc_auc_score(positive, scores, sample_weight=w), abs=1e-9)
        assert found[1] == pytest.approx(
            sk.average_precision_score(positive, scores, sample_weight=w), abs=1e-9
        )


def test_curves_are_scikit_learns(case):
    scores, positive = case
    ranking = Ranking(scores, positive)
    fpr, tpr, _ = sk.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(np.stack(ranking.roc()), np.stack([fpr, tpr]), atol=1e-9)
    precision, recall, _ = sk.precision_recall_curve(positive, scores)
    ours = ranking.precision_recall()
    np.testing.assert_allclose(np.stack(ours), np.stack([precision[:-1][::-1], recall[:-1][::-1]]), atol=1e-9)


@pytest.mark.parametrize("positive", [True, False])
def test_with_one_kind_alone_the_roc_area_is_not_defined(positive):
    auc, ap = Ranking(np.array([0.1, 0.9]), np.array([positive, positive])).areas()
    assert np.isnan(auc)
    assert ap == 1 if positive else np.isnan(ap)


def test_a_perfect_ranking_has_areas_of_one():
    assert Ranking(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1], bool)).areas().tolist() == [1, 1]


def test_intervals_hold_the_value_and_widen_with_fewer_units():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=600)
    probabilities = rng.dirichlet(np.ones(3), size=600)
    probabilities[np.arange(600), labels] += 0.5
    widths = []
    for units in (np.arange(600), np.arange(600) // 30):
        value, low, high = areas_of_classes(probabilities, labels, units, samples=200, seed=0)
        assert value.shape == (3, 2)
        assert (low < value).all()
        assert (value < high).all()
        widths.append((high - low).mean())
    one = areas_of_classes(probabilities, labels, np.zeros(600, int), samples=200, seed=0)
    assert np.isnan(one[1]).all()
    assert np.isfinite(one[0]).all()


def test_the_interval_of_an_auc_covers_the_truth():
    """Scores of two normals one apart: the true AUC is Phi(1 / sqrt 2) = 0.7602."""
    covered = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        labels = rng.integers(2, size=150)
        scores = rng.normal(size=150) + labels
        both = np.stack([-scores, scores], axis=1)
        _, low, high = areas_of_classes(both, labels, np.arange(150), samples=150, seed=seed)
        covered += low[1, 0] <= 0.760250 <= high[1, 0]
    assert 105 <= covered <= 120  # 95 % of 120 is 114, less four standard deviations
