"""What a sweep searches: how choices and ranges are read, and what a point of the space tells Hydra."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from deeprob.errors import InputError
from deeprob.studies.sweep.space import distributions, grid, overrides_of


def test_ranges_and_choices_become_distributions():
    found = distributions(
        {
            "a.lr": {"low": 0.01, "high": 1.0, "log": True},
            "a.depth": {"low": 1, "high": 5},
            "a.share": {"low": 0.0, "high": 1.0, "step": 0.25},
            "model": ["resnet18", "resnet34"],
            "a.on": [True, None, [1, 2], {"x": 0.5}],
        }
    )
    assert found["a.lr"] == FloatDistribution(0.01, 1.0, log=True)
    assert found["a.depth"] == IntDistribution(1, 5)
    assert found["a.share"] == FloatDistribution(0.0, 1.0, step=0.25)
    assert found["model"] == CategoricalDistribution(["resnet18", "resnet34"])
    assert found["a.on"] == CategoricalDistribution(["true", "null", "[1, 2]", "{x: 0.5}"])


@pytest.mark.parametrize(
    "values",
    [
        *([], 3, "adam", [1, 1], {"low": 1}, {"low": 1, "high": "a"}, {"low": True, "high": 2}),
        *({"low": 1, "high": 2, "size": 3}, {"low": 0.0, "high": 1.0, "log": True}, {"low": 2, "high": 1}),
    ],
)
def test_what_is_neither_names_its_key(values):
    with pytest.raises(InputError, match=r"sweep\.space\.a\.key"):
        distributions({"a.key": values})


def test_an_empty_space_is_refused():
    with pytest.raises(InputError, match="nothing to search"):
        distributions({})


def test_a_point_is_told_as_overrides():
    params = {"a.lr": 0.0123456789, "a.depth": 3, "model": "resnet18"}
    assert overrides_of(params) == ["a.lr=0.0123457", "a.depth=3", "model=resnet18"]


def test_a_grid_has_every_combination_once():
    points = grid(distributions({"a": [1, 2], "b": ["x", "y", "z"]}))
    assert len(points) == len({tuple(p.items()) for p in points}) == 6
    assert points[:2] == [{"a": "1", "b": "x"}, {"a": "1", "b": "y"}]


def test_a_range_in_a_grid_is_refused():
    with pytest.raises(InputError, match=r"sweep\.space\.b: a range in a grid"):
        grid(distributions({"a": [1], "b": {"low": 0, "high": 3}}))
