"""Every verb on every task: it works, or one clear line says why it cannot (CANNOT below)."""

import json
import re
import shutil

import pytest
from fixtures.tasks import TASKS
from omegaconf import OmegaConf

from deeprob.cli import ablate, card, graph, info, report, sweep
from deeprob.config import compose
from deeprob.errors import InputError
from deeprob.evaluation import robustness
from deeprob.evaluation.report import task_of_results
from deeprob.page.definitions import title
from deeprob.runs import Run
from deeprob.studies import processes

ALLOWED = "allowed_targets=[counting]"
CANNOT = {  # (verb, task) -> the line
    ("robustness", "points"): "corruptions are of images",
    ("robustness", "parts"): "corruptions are of images",
}
CHANGED = "optim.optimizer.lr=0.02"  # what sets a second run apart


class Case:
    """A task with its finished run, and an empty folder to work in."""

    def __init__(self, task, run, overrides, folder):
        self.task, self.run, self.overrides, self.folder = task, run, overrides, folder
        self.headline = task_of_results(run.read_results(), ["counting"]).headline

    def copied(self, folder, override=CHANGED):
        """A copy of the run, as if one key of its config had been another: a training less."""
        shutil.copytree(self.run.path, folder, dirs_exist_ok=True)
        cfg = OmegaConf.load(folder / "config.yaml")
        OmegaConf.update(cfg, *override.split("="))
        OmegaConf.save(cfg, folder / "config.yaml")
        return Run(folder)

    def experiment(self):
        """An experiment file of the task's choices, and its other overrides."""
        if self.task == "counting":
            return self.overrides[0].removeprefix("experiment="), self.overrides[1:]
        path = self.folder / f"{self.task}.yaml"
        path.write_text(f"# @package _global_\nname: {self.task}\n")
        return str(path), [o for o in self.overrides if not o.startswith("name=")]

    def study(self, verb, key, **settings):
        """The root config of a study of the task."""
        experiment, overrides = self.experiment()
        paths = [o for o in overrides if o.startswith("paths.cache")]
        own = [f"{key}.name=study", f"{key}.experiment=any", f"paths.runs_dir={self.folder / 'runs'}"]
        cfg = compose(verb, [*own, *paths])
        OmegaConf.set_struct(cfg, False)
        given = [o for o in overrides if not o.startswith("paths.")]
        for name, value in {"experiment": experiment, "overrides": given, **settings}.items():
            cfg[key][name] = value
        return cfg


def train_and_evaluate(case, monkeypatch, capsys):
    results = case.run.read_results()
    logged = {key for row in case.run.read_metrics() for key in row}
    assert {f"val/{name}" for name in results["metrics"]} <= logged
    assert results["metrics"][case.headline]["n"] > 0
    assert results["baselines"].keys() == results["differences"].keys() != set()
    assert case.run.report.is_file()


def compare(case, monkeypatch, capsys):
    for name in ("one", "two"):
        case.copied(case.folder / "runs" / name, CHANGED if name == "two" else "seed=0")
    out = case.folder / "table"
    assert report.main([f"runs={case.folder / 'runs' / '*'}", f"output={out}", ALLOWED]) == 0
    text = (out / "table.md").read_text()
    assert "lr=0.02" in text
    assert "+0.000" in text  # it is the same run


def ablation(case, monkeypatch, capsys):
    def run_all(jobs, *_, **__):  # the processes leave copies of a run that was trained before
        for job in jobs:
            case.copied(job.run.path, CHANGED if CHANGED in job.overrides else "seed=0")
        return {}

    monkeypatch.setattr(processes, "run_all", run_all)
    cfg = case.study("ablate", "ablation", variants={"slower": [CHANGED]}, seeds=[0])
    assert ablate.ablate(cfg) == 0
    page = (case.folder / "runs" / "ablation-study" / "ablation.html").read_text(encoding="utf-8")
    assert "slower" in page
    assert title(case.headline) in page


def search(case, monkeypatch, capsys):
    space = {"optim.optimizer.lr": [0.01, 0.02]}
    fewer = ["trainer.max_epochs=1"]
    cfg = case.study("sweep", "sweep", space=space, trials=1, trial_overrides=fewer)
    assert sweep.sweep(cfg, []) == 0
    best = case.folder / "runs" / "sweeps" / "study" / "study_best.yaml"
    assert f"val/{case.headline}" in best.read_text()
    allowed = [ALLOWED] if case.task == "counting" else []
    again = compose("train", [f"experiment={best}", *allowed])
    assert again.data.view._target_ == OmegaConf.load(case.run.config).data.view._target_


def corrupted(case, monkeypatch, capsys):
    monkeypatch.setattr(robustness, "CORRUPTIONS", {"darker": robustness.CORRUPTIONS["darker"]})
    monkeypatch.setattr(robustness, "NUM_SEVERITIES", 2)
    found = robustness.evaluate_robustness(
        case.copied(case.folder / "run"), progress=False, allowed=["counting"]
    )
    assert found["metric"] == case.headline
    assert found["clean"]["value"] == pytest.approx(
        case.run.read_results()["metrics"][case.headline]["value"]
    )


def project_card(case, monkeypatch, capsys):
    card.card(compose("card", [*case.overrides, "seconds=0.01", f"out={case.folder / 'card'}"]))
    page = (case.folder / "card" / "card.html").read_text(encoding="utf-8")
    assert f"{case.run.read_results()['cost']['parameters']:,}" in page


def network(case, monkeypatch, capsys):
    assert graph.main([f"run={case.run.path}", "batch=4", "show=table", ALLOWED]) == 0
    assert "parameters" in capsys.readouterr().out


def facts(case, monkeypatch, capsys):
    of_data = ("data=", "data/", "data.root", "data.source", "+data.source", "data.sim")
    choice = [o for o in case.overrides if o.startswith(of_data)]
    if case.task == "counting":
        choice = ["data=darknet", *choice]
    assert info.main(choice) == 0
    assert re.search(r"lollipop|light|duck", capsys.readouterr().out)


SLOW_TASKS = ("points", "detection", "segmentation", "pose")
SLOW = {(verb, task) for verb in ("ablate", "sweep") for task in SLOW_TASKS} | {
    ("card", "points"),
    ("card", "pose"),
}
VERBS = {
    "train, evaluate, report": train_and_evaluate,
    "report runs=": compare,
    "ablate": ablation,
    "sweep": search,
    "robustness": corrupted,
    "card": project_card,
    "graph": network,
    "info": facts,
}


@pytest.mark.parametrize(
    ("task", "verb"),
    [
        pytest.param(task, verb, id=f"{task}: {verb}", marks=[pytest.mark.slow] * ((verb, task) in SLOW))
        for task in TASKS
        for verb in VERBS
    ],
)
def test_a_verb_on_a_task(task, verb, run_of, overrides_of, tmp_path, monkeypatch, capsys):
    case = Case(task, run_of(task), overrides_of(task), tmp_path)
    capsys.readouterr()
    if (verb, task) not in CANNOT:
        return VERBS[verb](case, monkeypatch, capsys)
    with pytest.raises(InputError, match=CANNOT[verb, task]):
        VERBS[verb](case, monkeypatch, capsys)


def test_the_table_names_what_there_is():
    assert {verb for verb, _ in CANNOT} <= VERBS.keys()
    assert {task for _, task in CANNOT} <= TASKS.keys()


def test_a_run_is_left_as_it_was(run_of):
    run = run_of("counting")
    assert json.loads(run.results().read_text())["run_id"] == "one"
    assert not list(run.path.glob("robustness*"))
