"""Groups of runs against a base: paired by seed, corrected together, and what cannot be compared."""

import json
import re

import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.page.drawing import LONGEST_NAME
from deeprob.page.figures import intervals_chart
from deeprob.studies.comparison import Comparison


@pytest.fixture
def groups(tmp_path, write_run, make_predictions):
    """A base, a clearly worse variant and one that equals the base; two seeds each, on the same samples."""
    skills = {"base": 3.0, "worse": 0.5, "same": 3.0}
    return {
        name: {
            seed: write_run(tmp_path / f"{name}-{seed}", make_predictions(seed, skill=skill), seed)
            for seed in (0, 1)
        }
        for name, skill in skills.items()
    }


def compare(groups, base, metric, errors=None):
    return Comparison(groups, metric).rows(base, errors)


def row_of(rows, name):
    return next(row for row in rows if row.name == name)


def test_rows_hold_mean_and_spread_over_the_seeds(groups):
    row = row_of(compare(groups, "base", "top1_accuracy"), "worse")
    values = [run.read_results()["metrics"]["top1_accuracy"]["value"] for run in groups["worse"].values()]
    assert row.mean == pytest.approx(np.mean(values))
    assert row.std == pytest.approx(np.std(values, ddof=1))
    assert row.parameters == 12345
    assert row.seconds == 31.5
    assert row.num_samples == 240


def test_a_worse_variant_is_clearly_below_the_base(groups):
    difference = row_of(compare(groups, "base", "top1_accuracy"), "worse").difference
    assert difference.value < 0
    assert difference.low < difference.value < difference.high


def test_an_equal_variant_does_not_differ(groups):
    difference = row_of(compare(groups, "base", "top1_accuracy"), "same").difference
    assert (difference.value, difference.p_value) == (0, 1)


def test_the_base_is_not_compared_with_itself(groups):
    assert row_of(compare(groups, "base", "top1_accuracy"), "base").difference is None


def test_p_values_are_corrected_for_the_number_of_rows(groups):
    alone = row_of(compare({k: groups[k] for k in ("base", "worse")}, "base", "macro_f1"), "worse")
    together = row_of(compare(groups, "base", "macro_f1"), "worse")
    assert together.difference.p_value == pytest.approx(2 * alone.difference.p_value)


def test_seeds_that_one_side_lacks_are_left_out_of_the_difference(groups):
    del groups["worse"][1]
    row = row_of(compare(groups, "base", "top1_accuracy"), "worse")
    base = groups["base"][0].read_results()["metrics"]["top1_accuracy"]["value"]
    assert row.difference.value == pytest.approx(row.values[0] - base)
    assert row.std is None


def test_runs_on_other_samples_have_no_difference(groups, tmp_path, write_run, make_predictions):
    groups["other"] = {0: write_run(tmp_path / "other", make_predictions(0, data_seed=5))}
    assert row_of(compare(groups, "base", "top1_accuracy"), "other").difference is None


def test_a_group_whose_runs_failed_keeps_its_errors(groups):
    rows = compare({**groups, "failed": {}}, "base", "top1_accuracy", {"failed": ["seed 0: out of memory"]})
    row = row_of(rows, "failed")
    assert (row.mean, row.difference, row.errors) == (None, None, ("seed 0: out of memory",))


def test_a_failed_base_leaves_the_others_without_difference(groups):
    rows = compare({**groups, "base": {}}, "base", "top1_accuracy")
    assert all(row.difference is None for row in rows)


def test_an_unknown_metric_is_named_with_those_there_are(groups):
    with pytest.raises(InputError, match=r"no metric 'miou'; expected top1_accuracy, "):
        compare(groups, "base", "miou")


def test_runs_of_different_tasks_do_not_share_a_table(groups):
    run = groups["worse"][0]
    run.results().write_text(json.dumps({**run.read_results(), "task": "pose"}))
    with pytest.raises(InputError, match="runs of different tasks: classification, pose"):
        compare(groups, "base", "top1_accuracy")


def test_missing_predictions_are_named(groups):
    (groups["worse"][0].path / "predictions_test.npz").unlink()
    with pytest.raises(InputError, match="no predictions of this split"):
        compare(groups, "base", "top1_accuracy")


def test_a_mean_has_an_interval_that_seeds_and_test_units_widen(groups):
    row = row_of(compare(groups, "base", "top1_accuracy"), "worse")
    assert row.interval.value == pytest.approx(row.mean)
    low, high = groups["worse"][0].read_results()["metrics"]["top1_accuracy"]["ci95"]
    assert row.interval.low < row.mean < row.interval.high
    assert row.interval.high - row.interval.low > (high - low) / 2


def test_a_metric_without_a_value_is_a_line_of_its_row(groups):
    run = groups["worse"][0]
    results = json.loads(run.results().read_text())
    results["metrics"]["top1_accuracy"]["value"] = None
    run.results().write_text(json.dumps(results))
    row = row_of(compare(groups, "base", "top1_accuracy"), "worse")
    assert row.errors == ("seed 0: top1_accuracy is not defined",)
    assert list(row.values) == [1]
    assert row.difference is not None


@pytest.mark.filterwarnings("error")
def test_a_long_name_is_broken_and_leaves_room_for_its_interval():
    name = "robocup features=/work/runs/20261127-060116 in_channels=5 k=None metric=l2 weights=uniform"
    drawn = intervals_chart([(name, 0.05, (0.03, 0.07)), ("short", 0.1, None)], "Top-1", name="long")
    lines = re.findall(r">([^<>]+)</text>", drawn)
    assert "short" in lines
    assert "".join(lines).replace(" ", "").find(name.replace(" ", "")) >= 0  # all of it is there
    assert all(len(line) <= LONGEST_NAME for line in lines)


def test_the_scores_of_a_run_are_resampled_once(write_run, make_predictions, tmp_path, monkeypatch):
    """However many groups are compared with it."""
    from deeprob.metrics.scores import SummedScores

    calls = []
    monkeypatch.setattr(
        SummedScores,
        "resampled",
        lambda self, samples, seed, own=SummedScores.resampled: calls.append(1) or own(self, samples, seed),
    )
    groups = {n: {0: write_run(tmp_path / n, make_predictions(i), 0)} for i, n in enumerate("abcd")}
    Comparison(groups).rows("a")
    assert len(calls) == len(groups)
