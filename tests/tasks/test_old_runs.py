"""Run folders of an earlier version, tests/old_runs: evaluated, reported, resumed and compared as before."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from deeprob.cli.train import resume
from deeprob.evaluation.evaluate import evaluate_run
from deeprob.evaluation.report import write_report
from deeprob.runs import Run
from deeprob.studies.gather import write_comparison

OLD = Path(__file__).resolve().parents[1] / "old_runs"
LOGGED = {  # what validation logs by the task's own names
    "classification": "top1_accuracy",
    "points": "top1_accuracy",
    "part_segmentation": "instance_miou",
}


@pytest.fixture
def open_old(tmp_path, squares, write_shapes):
    """Copy an old run folder, its data and paths where they are now."""
    write_shapes(tmp_path / "shapes")

    def copy(name, to="old"):
        run = Run(tmp_path / "runs" / "old" / to)
        shutil.copytree(OLD / name, run.path)
        for file in (run.config, run.overrides):
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace("DATA_ROOT", str(tmp_path)).replace("TMP", str(tmp_path)))
        return run

    return copy


@pytest.mark.parametrize("name", LOGGED)
def test_an_old_run_evaluates_to_the_same_numbers(name, open_old):
    run = open_old(name)
    before = json.loads((OLD / name / "results.json").read_text())
    now = evaluate_run(run, progress=False)
    for part in ("metrics", "baselines", "differences", "per_class"):
        assert_same(now[part], before[part])
    assert (now["task"], now["interval"], now["cost"]) == (before["task"], before["interval"], before["cost"])


def assert_same(now, before):
    """What was there has the same values, to the last digits that another order of sums can change."""
    assert before.keys() <= now.keys()
    for key, value in before.items():
        if isinstance(value, dict):
            assert_same(now[key], value)
        elif value is None:
            assert now[key] is None
        else:
            np.testing.assert_allclose(now[key], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", LOGGED)
def test_an_old_run_reports_from_what_lies_in_it(name, open_old):
    page = write_report(open_old(name)).read_text(encoding="utf-8")
    assert "Reproduce" in page
    assert f"{json.loads((OLD / name / 'results.json').read_text())['cost']['parameters']:,}" in page


@pytest.mark.parametrize("name", LOGGED)
def test_an_old_run_resumes_and_keeps_its_record(name, open_old):
    run = open_old(name)
    before = [json.loads(line) for line in (OLD / name / "metrics.jsonl").read_text().splitlines()]
    assert resume(str(run.path), ["trainer.max_epochs=3"]) == 0
    rows = run.read_metrics()
    assert rows[: len(before)] == before
    last = [row for row in rows if "val/loss" in row][-1]
    assert last["epoch"] == 2
    assert f"val/{LOGGED[name]}" in last
    assert "val/top1_accuracy" in last  # by which it chooses its best epoch, before as after
    assert json.loads(run.training.read_text())["epochs"] == 3


@pytest.mark.parametrize("name", LOGGED)
def test_an_old_run_is_compared_with_one_of_today(name, open_old, tmp_path):
    open_old(name)
    new = open_old(name, to="new")
    evaluate_run(new, progress=False)
    new.config.write_text(new.config.read_text().replace("max_epochs: 2", "max_epochs: 5"))
    findings, _ = write_comparison(str(tmp_path / "runs" / "old" / "*"), tmp_path / "table", None)
    assert [row.difference.value for row in findings.rows if row.difference is not None] == [0.0]
