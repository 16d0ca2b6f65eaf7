"""The shared study: who takes which trial, and what becomes of the trials of dead workers."""

import os

import pytest

from deeprob.errors import InputError
from deeprob.studies.sweep.space import distributions
from deeprob.studies.sweep.study import MOST_TRIES, STALE_SECONDS, SharedStudy, Worker, folder_name

SPACE = distributions({"lr": {"low": 0.001, "high": 1.0, "log": True}, "width": [4, 8]})
GRID = distributions({"width": [4, 8], "depth": [1, 2]})


def open_study(folder, space=SPACE, **changes):
    settings = {"sampler": "tpe", "pruner": "none", "warmup": 0, "mode": "max", "limit": 6, "seed": 0}
    return SharedStudy(folder / "trial", {"space": "x"}, space, **settings | changes)


@pytest.fixture
def worker(tmp_path):
    with Worker(tmp_path / "trial") as worker:
        yield worker


def dead_worker(folder):
    """A worker that claimed and was killed: its file is there, and nobody holds it."""
    worker = Worker(folder / "trial")
    worker.path.parent.mkdir(parents=True, exist_ok=True)
    worker.path.touch()
    return worker


def finish(study, worker):
    """Run what is left, the value being the width."""
    while (trial := study.claim(worker)) is not None:
        study.tell(trial, float(trial.params["width"]), "complete")


def test_a_sweep_ends_at_its_number_of_trials(tmp_path, worker):
    study = open_study(tmp_path)
    finish(study, worker)
    assert [t.state.name for t in study.ended()] == ["COMPLETE"] * 6
    assert study.finished
    assert study.best.params["width"] == "8"


def test_two_processes_see_the_same_study(tmp_path, worker):
    first, second = open_study(tmp_path), open_study(tmp_path)
    for study in (first, second, first):
        study.tell(study.claim(worker), 1.0, "complete")
    assert [t.number for t in second.ended()] == [0, 1, 2]


def test_an_interrupted_sweep_asks_what_an_uninterrupted_one_does(tmp_path, worker):
    whole = open_study(tmp_path / "whole")
    finish(whole, worker)
    for _ in range(6):  # opened anew for every trial
        study = open_study(tmp_path / "parts")
        trial = study.claim(worker)
        study.tell(trial, float(trial.params["width"]), "complete")
    assert [t.params for t in study.ended()] == [t.params for t in whole.ended()]


def test_the_trial_of_a_dead_worker_is_asked_again_in_its_folder(tmp_path, worker):
    study = open_study(tmp_path)
    lost = study.claim(dead_worker(tmp_path))
    again = study.claim(worker)
    assert again.number != lost.number
    assert again.params == lost.params
    assert folder_name(again) == folder_name(lost) == "trial-0000"
    study.tell(again, 1.0, "complete")
    finish(study, worker)
    assert [t.state.name for t in study.ended()] == ["COMPLETE"] * 6


def test_a_dead_worker_that_wakes_up_is_not_counted(tmp_path, worker):
    study = open_study(tmp_path)
    lost = study.claim(dead_worker(tmp_path))
    again = study.claim(worker)
    study.tell(lost, 0.5, "complete")
    study.tell(again, 0.75, "complete")
    assert [t.value for t in study.ended()] == [0.75]


def test_a_trial_that_kills_its_workers_fails_at_last(tmp_path, worker):
    study = open_study(tmp_path, limit=1)
    for _ in range(MOST_TRIES):
        assert study.claim(dead_worker(tmp_path)) is not None
    assert study.claim(worker) is None
    assert [t.state.name for t in study.ended()] == ["FAIL"]


def test_a_living_worker_keeps_its_trial(tmp_path, worker):
    study = open_study(tmp_path, limit=1)
    with Worker(tmp_path / "trial") as other:
        study.claim(other)
        assert study.claim(worker) is None
    assert not study.finished


def test_a_silent_worker_of_another_machine_is_dead(tmp_path, worker):
    path = worker.path.with_name("elsewhere-1-abc")
    path.touch()
    assert worker.sees_alive(path.name)
    past = worker.path.stat().st_mtime - STALE_SECONDS - 1
    os.utime(path, (past, past))
    assert not worker.sees_alive(path.name)


def test_a_trial_that_ended_with_an_error_counts(tmp_path, worker):
    study = open_study(tmp_path, limit=2)
    study.tell(study.claim(worker), None, "fail", error="out of memory")
    finish(study, worker)
    assert [t.state.name for t in study.ended()] == ["FAIL", "COMPLETE"]
    assert study.ended()[0].user_attrs["error"] == "out of memory"


def test_a_grid_runs_every_point_once(tmp_path, worker):
    study = open_study(tmp_path, GRID, sampler="grid", limit=None)
    finish(study, worker)
    found = [(t.params["width"], t.params["depth"]) for t in study.ended()]
    assert sorted(found) == [("4", "1"), ("4", "2"), ("8", "1"), ("8", "2")]


def test_the_best_of_losses_is_the_lowest(tmp_path, worker):
    study = open_study(tmp_path, mode="min")
    finish(study, worker)
    assert study.best.params["width"] == "4"


def test_another_sweep_in_the_same_folder_is_refused(tmp_path):
    open_study(tmp_path)
    with pytest.raises(InputError, match=r"another space.*sweep\.name=") as error:
        SharedStudy(
            tmp_path / "trial",
            {"space": "y"},
            SPACE,
            sampler="tpe",
            pruner="none",
            warmup=0,
            mode="max",
            limit=3,
            seed=0,
        )
    assert "\n" not in str(error.value)


def test_a_line_that_was_cut_off_is_mended(tmp_path, worker):
    study = open_study(tmp_path)
    study.tell(study.claim(worker), 1.0, "complete")
    with open(tmp_path / "trial" / "journal.log", "a", encoding="utf-8") as journal:
        journal.write('{"op_code": 5, "trial')
    study = open_study(tmp_path)
    study.tell(study.claim(worker), 2.0, "complete")
    assert [t.value for t in open_study(tmp_path).ended()] == [1.0, 2.0]
