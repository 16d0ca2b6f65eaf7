"""What the engines do for a task that they do not know: tests/fixtures/counting.py, outside the package."""

import json
import os
import shutil
import subprocess
import sys

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from fixtures.tasks import OWN, finished
from omegaconf import OmegaConf

from deeprob.config import compose
from deeprob.errors import InputError
from deeprob.evaluation.evaluate import evaluate_run
from deeprob.evaluation.report import write_report
from deeprob.runs import Run
from deeprob.studies import ablation
from deeprob.targets import admitted
from deeprob.tasks.base import Task
from deeprob.training.experiment import monitor_of
from deeprob.training.run import train_run

METRICS = {"exact", "absolute_error"}
ALLOWED = ["counting"]


def weights(run):
    return torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]


def test_every_score_is_logged_and_the_headline_chooses_the_best_checkpoint(counting, counting_run):
    rows = counting_run.read_metrics()
    logged = [row for row in rows if "val/loss" in row]
    assert len(logged) == 2
    assert all({f"val/{name}" for name in METRICS} <= row.keys() for row in logged)
    assert "train/absolute_error" in {key for row in rows for key in row}
    assert monitor_of(compose("train", counting)) == "val/exact"


def test_results_have_intervals_and_the_tasks_baseline(counting_run):
    results = counting_run.read_results()
    assert results["task"] == "counting"
    written = np.load(counting_run.path / "predictions_val.npz")
    exact = (written["predictions"].round() == written["truths"]).mean()
    assert results["metrics"]["exact"]["value"] == pytest.approx(exact)
    assert sorted(written["truths"]) == [0.0] * 4 + [1.0] * 4 + [2.0] * 4 + [3.0] * 4
    low, high = results["metrics"]["absolute_error"]["ci95"]
    assert low < results["metrics"]["absolute_error"]["value"] < high
    assert results["interval"]["units"] == 16
    assert results["baselines"]["median"]["absolute_error"]["value"] == 1.0  # (1 + 0 + 1 + 2) / 4
    assert set(results["differences"]["median"]) == METRICS


def test_the_report_shows_metrics_baseline_and_curves(counting_run):
    page = counting_run.report.read_text(encoding="utf-8")
    assert "Counting" in page
    assert all(name in page for name in ("exact", "absolute error", "median", "Learning curves", "Reproduce"))


def test_an_evaluation_again_gives_the_same_numbers(counting_run, tmp_path):
    copy = Run(tmp_path / "counting" / "one")
    shutil.copytree(counting_run.path, copy.path)
    assert evaluate_run(copy, progress=False, allowed=ALLOWED) == counting_run.read_results()


def test_a_task_from_outside_is_not_let_in_by_a_run_folder(counting_run):
    with pytest.raises(InputError, match=r"allowed_targets=\[counting"):
        evaluate_run(counting_run, progress=False)


def test_a_missing_file_of_predictions_is_one_line(counting_run, tmp_path):
    copy = Run(tmp_path / "copy")
    shutil.copytree(counting_run.path, copy.path)
    (copy.path / "predictions_val.npz").unlink()
    with pytest.raises(InputError, match=r"no predictions of this split.*deeprob evaluate run="):
        write_report(copy, allowed=ALLOWED)


def test_a_run_that_was_cut_off_resumes_to_the_same_weights(counting, counting_run, tmp_path):
    class CutOff(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 3:  # in the second epoch of two steps
                raise RuntimeError("cut off")

    cfg = compose("train", counting)
    run = Run(tmp_path / "again")
    run.path.mkdir()
    with pytest.raises(RuntimeError, match="cut off"):
        train_run(cfg, run, counting, [CutOff()])
    train_run(cfg, run, counting)
    assert weights(run).keys() == weights(counting_run).keys()
    assert all(torch.equal(value, weights(run)[name]) for name, value in weights(counting_run).items())
    assert [r for r in run.read_metrics() if "val/loss" in r] == [
        r for r in counting_run.read_metrics() if "val/loss" in r
    ]


def study(verb, counting, tmp_path, **settings):
    """The root config of a study of the toy task."""
    experiment, allowed, *others = counting
    paths = [o for o in others if o.startswith("paths.cache")]
    cfg = compose(verb, [*settings.pop("own"), f"paths.runs_dir={tmp_path / 'runs'}", *paths])
    OmegaConf.set_struct(cfg, False)
    key = {"ablate": "ablation"}.get(verb, verb)
    overrides = [allowed, *(o for o in others if not o.startswith("paths."))]
    values = {"experiment": experiment.removeprefix("experiment="), "overrides": overrides, **settings}
    for name, value in values.items():
        cfg[key][name] = value
    return cfg


def test_an_ablation_tabulates_its_variants(counting, tmp_path):
    own = ["ablation.name=toy", "ablation.experiment=quickstart"]
    variants = {"narrow": ["model.width=2"]}
    cfg = study("ablate", counting, tmp_path, own=own, variants=variants, seeds=[0])
    planned = ablation.plan(cfg)
    assert len(planned.jobs) == 2
    for job in planned.jobs.values():  # what the processes of `deeprob ablate` do
        finished(job.overrides, job.run.run_id)
    findings = ablation.compare(planned, {})
    assert findings.metric == "exact"
    assert [row.name for row in findings.rows] == ["base", "narrow"]
    assert all(len(row.values) == 1 for row in findings.rows)
    assert ablation.write(planned, findings).is_file()


def test_it_is_evaluated_on_another_data_set(counting_run, frames_root, tmp_path):
    other = compose("evaluate", [f"run={counting_run.path}", "data=darknet", f"data.root={frames_root}"]).data
    other.source.name = "elsewhere"
    copy = Run(tmp_path / "copy")
    shutil.copytree(counting_run.path, copy.path)
    found = evaluate_run(copy, "val", progress=False, allowed=ALLOWED, other=other)
    assert found["split"] == "elsewhere-val"
    assert found["metrics"] == counting_run.read_results()["metrics"]
    assert found["baselines"] == counting_run.read_results()["baselines"]


def test_a_task_without_a_method_cannot_be_made():
    class Half(Task):
        name = title = headline = "half"

    with pytest.raises(TypeError, match="abstract"):
        Half(None)


def test_a_view_that_names_no_task_is_one_line(counting):
    cfg = compose("train", [*counting, "data.view._target_=counting.CountSamples"])
    with pytest.raises(InputError, match="CountSamples names no task"):
        monitor_of(cfg)


@pytest.mark.slow
def test_the_command_itself_trains_a_task_from_outside(counting, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path[:1], str(OWN), *sys.path])}
    own = [o for o in counting if not o.startswith("paths.runs")]
    command = [sys.executable, "-m", "deeprob", "train", *own, f"paths.runs_dir={tmp_path / 'runs'}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (results,) = tmp_path.glob("runs/counting/*/results.json")
    assert json.loads(results.read_text())["task"] == "counting"
    assert admitted(compose("train", counting)) == ["counting", "counting.CountNet", "counting.CountView"]
