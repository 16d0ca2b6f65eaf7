"""Designs of experiments: which variants there are, and that their effects are those of the textbook."""

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from deeprob.errors import InputError
from deeprob.studies.designs import grammar, make_design, make_grid

FACTORS = {"model.width": [16, 64], "model.norm": [False]}


def test_a_list_is_taken_as_written_after_the_base():
    design = make_design("list", {"wide": ["model.width=64"]}, {})
    assert design.variants == {"base": [], "wide": ["model.width=64"]}


def test_one_at_a_time_changes_one_factor_in_each_variant():
    assert make_design("one_at_a_time", {}, FACTORS).variants == {
        "base": [],
        "width-16": ["model.width=16"],
        "width-64": ["model.width=64"],
        "norm-false": ["model.norm=false"],
    }


def test_leave_one_out_starts_from_all_and_takes_one_away():
    assert make_design("leave_one_out", {}, FACTORS).variants == {
        "base": ["model.width=16", "model.norm=false"],
        "without_width": ["model.norm=false"],
        "without_norm": ["model.width=16"],
        "without_all": [],
    }


def test_a_factorial_holds_every_combination():
    design = make_design("factorial", {}, FACTORS)
    assert len(design.variants) == 3 * 2
    assert design.variants["base"] == []
    assert design.variants["width-64+norm-false"] == ["model.width=64", "model.norm=false"]


def test_effects_of_a_factorial_recover_what_the_outcome_was_made_of():
    # outcome = 1 + 2 a + 3 b + 5 c + 7 a b, with a, b, c either off or on
    design = make_design("factorial", {}, {"a": [1], "b": [1], "c": [1]})
    outcome = {}
    for name in design.variants:
        a, b, c = (f"{factor}-1" in name for factor in "abc")
        outcome[name] = 1 + 2 * a + 3 * b + 5 * c + 7 * a * b
    effects = {
        effect: sum(weight * outcome[name] for name, weight in weights.items())
        for effect, weights in design.effects.items()
    }
    assert effects == pytest.approx(
        {"a-1": 5.5, "b-1": 6.5, "c-1": 5, "a-1 × b-1": 7, "a-1 × c-1": 0, "b-1 × c-1": 0}
    )


def test_every_effect_is_a_contrast():
    for weights in make_design("factorial", {}, FACTORS).effects.values():
        assert np.isclose(sum(weights.values()), 0)


def test_factors_that_share_their_last_name_go_by_the_whole_key():
    variants = make_design("one_at_a_time", {}, {"optim.lr": [1], "model.lr": [1]}).variants
    assert list(variants) == ["base", "optim.lr-1", "model.lr-1"]


@pytest.mark.parametrize(
    "value", [True, None, 3, 0.5, "resnet18", "two words", [1, "a b"], {"x": 0, "y": [1, 2]}]
)
def test_values_survive_hydras_grammar(value):
    assert OverridesParser.create().parse_override(f"key={grammar(value)}").value() == value


@pytest.mark.parametrize(
    ("design", "variants", "factors", "message"),
    [
        ("latin", {}, FACTORS, "no design 'latin'; expected list, one_at_a_time"),
        ("list", {}, {}, "expected variants, and nothing else"),
        ("list", {"a": ["x=1"]}, FACTORS, "expected variants, and nothing else"),
        ("factorial", {"a": ["x=1"]}, FACTORS, "expected factors, and nothing else"),
        ("factorial", {}, {"model.width": []}, "a factor without values"),
        ("one_at_a_time", {}, {"model.width": [1, 1]}, "two values called width-1"),
    ],
)
def test_a_design_that_cannot_be_laid_out_is_refused(design, variants, factors, message):
    with pytest.raises(InputError, match=message):
        make_design(design, variants, factors)


def test_a_grid_has_every_cell_but_those_left_out():
    rows, columns = {"all": [], "some": ["a=1"]}, {"plain": [], "other": ["b=2"]}
    design = make_grid(rows, columns, ["all+other"])
    assert design.variants == {"base": [], "some+plain": ["a=1"], "some+other": ["a=1", "b=2"]}
    assert design.effects == {"other at some": {"some+other": 1, "some+plain": -1}}
    assert design.curves == {"plain": {"all": "base", "some": "some+plain"}, "other": {"some": "some+other"}}


@pytest.mark.parametrize("without", [["all+none"], ["all+plain"]])
def test_a_cell_that_there_is_not_and_the_base_cannot_be_left_out(without):
    with pytest.raises(InputError, match=r"ablation\.without"):
        make_grid({"all": []}, {"plain": [], "other": ["b=2"]}, without)
