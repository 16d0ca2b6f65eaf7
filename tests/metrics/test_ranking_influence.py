"""Areas under curves in closed form: the areas, their derivatives, and intervals beside the bootstrap's."""

import numpy as np
import pytest

from deeprob.metrics.ranking import Ranking, areas_of_classes
from deeprob.metrics.ranking_influence import areas_in_closed_form, influence


@pytest.fixture(params=["distinct", "ties"])
def case(request):
    rng = np.random.default_rng(3)
    positive = rng.random(120) < 0.25
    scores = rng.normal(size=120) + positive
    return (np.round(scores) if request.param == "ties" else scores), positive


def test_the_areas_are_those_of_the_curves(case):
    np.testing.assert_allclose(influence(*case)[0], Ranking(*case).areas(), rtol=1e-12)


def test_the_influence_is_the_derivative_by_each_weight(case):
    ranking, step = Ranking(*case), 1e-6
    more, less = (ranking.areas(np.ones(120) + sign * step * np.eye(120)) for sign in (1, -1))
    np.testing.assert_allclose(influence(*case)[1], (more - less).T / (2 * step), atol=1e-8)


def test_intervals_are_near_the_bootstraps():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=1000)
    probabilities = rng.dirichlet(np.ones(4), size=1000)
    probabilities[np.arange(1000), labels] += 0.1
    units = np.repeat(np.arange(250), 4)
    value, low, high = areas_of_classes(probabilities, labels, units, samples=1000, seed=0)
    closed = areas_in_closed_form(probabilities, labels, units)
    np.testing.assert_allclose(closed[0], value, rtol=1e-12)
    np.testing.assert_allclose(closed[1], low, atol=0.1 * (high - low).max())
    np.testing.assert_allclose(closed[2], high, atol=0.1 * (high - low).max())


def test_samples_of_one_unit_are_not_independent():
    rng = np.random.default_rng(1)
    labels, probabilities = rng.integers(2, size=100), rng.dirichlet(np.ones(2), size=100)
    twice = np.repeat(probabilities, 2, axis=0), np.repeat(labels, 2)
    alone = areas_in_closed_form(probabilities, labels, np.arange(100))
    for of_alone, of_twice in zip(
        alone, areas_in_closed_form(*twice, np.repeat(np.arange(100), 2)), strict=True
    ):
        np.testing.assert_allclose(of_twice, of_alone, rtol=1e-9)


def test_what_is_not_there_or_perfect_has_no_interval():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.3, 0.7, 0.0]])
    steps = []
    value, low, _ = areas_in_closed_form(
        probabilities, np.array([0, 0, 1, 1]), np.arange(4), step=lambda: steps.append(1)
    )
    assert value[:2].tolist() == [[1, 1], [1, 1]]
    assert np.isnan(value[2]).all()
    assert np.isnan(low).all()
    assert len(steps) == 3
