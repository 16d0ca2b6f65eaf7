"""Trials of a sweep, in this process and in others: plans, values, the best settings, a killed worker."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from deeprob.cli.sweep import main
from deeprob.config import compose
from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.studies.sweep.study import Worker
from deeprob.studies.sweep.trial import experiment_of, plan, value_of, work, write_best

SPACE = {"optim.optimizer.lr": {"low": 0.01, "high": 0.3, "log": True}, "model.width": [4, 8]}


@pytest.fixture
def sweep_config(squares_overrides, tmp_path):
    """The root config of a sweep over the squares, trials of about a second."""

    def make(**changes):
        own = [o for o in squares_overrides if not o.startswith(("name=", "paths."))]
        paths = [f"paths.runs_dir={tmp_path / 'runs'}", f"paths.cache_dir={tmp_path / 'cache'}"]
        cfg = compose("sweep", ["sweep.name=tiny", "sweep.experiment=quickstart", *paths])
        OmegaConf.set_struct(cfg, False)
        settings = {"trials": 2, "pruner": "none", "space": SPACE, **changes}
        cfg.sweep = OmegaConf.merge(cfg.sweep, settings)
        cfg.sweep.trial_overrides = [*own, "trainer.max_epochs=2", *changes.get("trial_overrides", [])]
        return cfg

    return make


def run_all(planned):
    study = planned.study()
    with Worker(planned.folder) as worker:
        while work(planned, study, worker) is not None:
            pass
    return study


def test_a_plan_reads_metric_and_mode_from_the_experiment(sweep_config):
    planned = plan(sweep_config(trials=7))
    assert (planned.metric, planned.mode, planned.judged_by) == ("val/top1_accuracy", "max", "best")
    assert planned.limit == 7


@pytest.mark.parametrize(
    "params",
    [
        {"optim.optimizer.lr": 0.0123456789, "model.width": "4"},
        {"data.augmentation": "{flip: 0.5}", "model.blocks": "[2, 1]"},
        {"optim": "adamw", "model.width": "8"},
        {"+callbacks.mine": "{_target_: deeprob.X}"},
        {"name": '"two words, [x]"'},
    ],
)
def test_a_trials_config_is_what_its_overrides_compose(sweep_config, params):
    planned = plan(sweep_config())
    paths = [f"paths.{key}={value}" for key, value in planned.cfg.paths.items()]
    for _ in range(2):  # the second time from what the first kept
        assert planned.config(params) == compose("train", [*planned.overrides(params), *paths])
    assert planned.config({}) == compose("train", [*planned.overrides({}), *paths])


def test_a_grid_has_as_many_trials_as_points(sweep_config):
    space = {"model.width": [4, 8], "seed": [0, 1, 2]}
    assert plan(sweep_config(sampler="grid", trials=None, space=space)).limit == 6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": {"optim.optimizer.lrr": [1]}}, "did you mean optim.optimizer.lr"),
        ({"sampler": "genetic"}, "no sampler 'genetic'; expected tpe, random, grid"),
        ({"pruner": "axe"}, "no pruner 'axe'; expected median, halving, none"),
        ({"folds": -1}, "sweep.folds is -1"),
        ({"trials": 0}, "sweep.trials is 0"),
        ({"overrides": ["~data.source.splits.val"]}, "trial_overrides"),
    ],
)
def test_a_mistake_in_a_sweep_is_one_line(sweep_config, changes, said):
    cfg = sweep_config(**changes)
    with pytest.raises(InputError, match=said.replace("(", r"\(")) as error:
        plan(cfg)
    assert "\n" not in str(error.value)


def test_trials_train_and_only_the_best_keeps_its_checkpoints(sweep_config):
    planned = plan(sweep_config())
    study = run_all(planned)
    assert [t.state.name for t in study.ended()] == ["COMPLETE"] * 2
    kept = sorted(p.parent.name for p in planned.folder.glob("trial-*/checkpoints"))
    assert kept == [f"trial-{study.best.number:04d}"]
    rows = Run(planned.folder / kept[0]).read_metrics()
    assert study.best.value == max(r["val/top1_accuracy"] for r in rows if "val/top1_accuracy" in r)


def test_a_hopeless_trial_is_ended_early(sweep_config, monkeypatch):
    monkeypatch.setattr("optuna.trial.Trial.should_prune", lambda self: True)
    planned = plan(sweep_config(trials=1, trial_overrides=["trainer.max_epochs=3"]))
    study = run_all(planned)
    assert [t.state.name for t in study.ended()] == ["PRUNED"]
    assert study.ended()[0].user_attrs["epoch"] == 0
    training = json.loads(Run(planned.folder / "trial-0000").training.read_text())
    assert training["epochs"] == 1


def test_folds_are_averaged(squares, sweep_config):
    folded = ["~data.source.splits.val", "data.num_folds=0", "evaluation.split=train"]
    for class_id in range(3):  # every class in each of two recording sessions
        for session in ("a", "b"):
            folder = squares / f"train-{session}"
            folder.mkdir(exist_ok=True)
            for path in sorted((squares / "train").glob(f"{class_id}-*")):
                number = int(path.stem.partition("-")[2])
                if (number % 2 == 0) == (session == "a"):
                    path.rename(folder / path.name)
    folded.append("data.source.splits={train: ['train-*']}")
    planned = plan(sweep_config(trials=1, folds=2, trial_overrides=folded))
    study = run_all(planned)
    folds = study.best.user_attrs["folds"]
    assert len(folds) == 2
    assert study.best.value == pytest.approx(sum(folds) / 2)
    assert sorted(p.name for p in planned.folder.glob("trial-*")) == ["trial-0000-fold0", "trial-0000-fold1"]


def test_an_error_of_the_first_trial_is_told_at_once(sweep_config):
    planned = plan(sweep_config(trial_overrides=["data.root=nowhere"]))
    with pytest.raises(InputError, match="trial 0: nowhere: no such folder"):
        run_all(planned)


def test_a_run_is_judged_by_its_best_or_last_epoch(tmp_path):
    run = Run(tmp_path)
    run.metrics.write_text(
        "".join(json.dumps({"step": i, "val/a": v}) + "\n" for i, v in enumerate([1, 3, 2]))
    )
    assert value_of(run, "val/a", "max", "best") == 3
    assert value_of(run, "val/a", "min", "best") == 1
    assert value_of(run, "val/a", "max", "last") == 2
    with pytest.raises(InputError, match="no metric 'val/b'; expected val/a"):
        value_of(run, "val/b", "max", "best")


def test_an_experiment_takes_choices_and_values(tmp_path):
    found = experiment_of(
        "quickstart", "mine", ["optim=adamw", "model.width=8", "data.augmentation={flip: 0.5}"]
    )
    path = tmp_path / "mine.yaml"
    path.write_text("# @package _global_\n" + OmegaConf.to_yaml(found))
    cfg = compose("train", [f"experiment={path}"])
    assert (cfg.name, cfg.model.width, cfg.data.augmentation.flip) == ("mine", 8, 0.5)
    assert cfg.optim.optimizer._target_ == "torch.optim.AdamW"
    assert cfg.data.batch_size == compose("train", ["experiment=quickstart"]).data.batch_size


def test_the_best_settings_compose_as_an_experiment(sweep_config, tmp_path):
    planned = plan(sweep_config(trials=1))
    best = run_all(planned).best
    path = write_best(planned, best)
    cfg = compose("train", [f"experiment={path.relative_to(tmp_path)}"])
    assert cfg.name == "tiny_best"
    assert str(cfg.model.width) == best.params["model.width"]
    assert cfg.optim.optimizer.lr == pytest.approx(best.params["optim.optimizer.lr"], rel=1e-5)


def test_a_dry_run_starts_nothing(tmp_path, capsys):
    assert main(["sweep=quickstart", "dry_run=true", f"paths.runs_dir={tmp_path / 'runs'}"]) == 0
    shown = capsys.readouterr().out
    assert "24 trials by tpe" in shown
    assert "0.01 to 0.4 log" in shown
    assert not (tmp_path / "runs").exists()


def command(cfg, tmp_path):
    """The command line of a sweep that is written as a file of its own, in a copy of the configs."""
    path = tmp_path / "cfg.yaml"
    path.write_text(OmegaConf.to_yaml(cfg))
    code = (
        "import sys; from omegaconf import OmegaConf; from deeprob.cli.sweep import sweep\n"
        f"sys.exit(sweep(OmegaConf.load({str(path)!r}), []))"
    )
    root = Path(__file__).resolve().parents[3]
    return [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_killed_worker_costs_one_trial_and_none_is_lost_or_counted_twice(sweep_config, tmp_path):
    cfg = sweep_config(trials=12, trial_overrides=["trainer.max_epochs=6"])
    line, environment = command(cfg, tmp_path)
    folder = tmp_path / "runs" / "sweeps" / "tiny"
    with open(tmp_path / "output.txt", "wb") as output:
        workers = [subprocess.Popen(line, stdout=output, stderr=output, env=environment) for _ in range(2)]
        study = plan(cfg).study()
        deadline = time.monotonic() + 120
        victim = None
        while victim is None and time.monotonic() < deadline:
            names = {
                t.user_attrs.get("worker", "") for t in study.optuna.get_trials() if t.state.name == "RUNNING"
            }
            mine = next((n for n in names if f"-{workers[1].pid}-" in n), None)
            victim = mine if mine and len(study.ended()) >= 3 else None
            time.sleep(0.05)
        workers[1].send_signal(signal.SIGKILL)
        workers[1].wait()
        assert workers[0].wait(timeout=180) == 0, (tmp_path / "output.txt").read_text()
    assert victim is not None
    assert [t.state.name for t in study.ended()] == ["COMPLETE"] * 12
    params = [json.dumps(t.params) for t in study.ended()]
    assert len(set(params)) == 12
    everything = study.optuna.get_trials()
    lost = [t for t in everything if t.user_attrs.get("died")]
    assert len(everything) == 12 + len(lost)
    assert len(lost) <= 1
    assert all(json.dumps(t.params) in params for t in lost)
    assert (folder / "report.html").is_file()
