"""The shared study: who takes which trial, and what becomes of the trials of dead workers."""

import os
import subprocess
import sys

import pytest

from deeprob.errors import InputError
from deeprob.studies.sweep.space import distributions
from deeprob.studies.sweep.study import MOST_TRIES, STALE_SECONDS, SharedStudy, Worker, folder_name, peek
from deeprob.training.signals import LEAVE

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


def checkpoint(folder, name="last.ckpt"):
    path = folder / "trial" / "trial-0000" / "checkpoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


def test_deaths_after_progress_do_not_count(tmp_path, worker):
    study = open_study(tmp_path, limit=1)
    for minute in range(MOST_TRIES + 3):
        assert study.claim(dead_worker(tmp_path)) is not None
        os.utime(checkpoint(tmp_path), (10**9 + 60 * minute,) * 2)
    for _ in range(MOST_TRIES):  # from here on it comes no further
        assert study.claim(dead_worker(tmp_path)) is not None
    assert study.claim(worker) is None
    assert [t.state.name for t in study.ended()] == ["FAIL"]


def test_leaving_in_good_order_is_no_death(tmp_path, worker):
    study = open_study(tmp_path, limit=1)
    for _ in range(2 * MOST_TRIES):
        with Worker(tmp_path / "trial") as leaving:
            assert study.claim(leaving) is not None
    study.tell(study.claim(worker), 1.0, "complete")
    assert [t.value for t in study.ended()] == [1.0]


def test_a_requeue_outside_the_training_loop_is_in_good_order(tmp_path):
    program = (
        "import os, pathlib, signal, time\n"
        "from deeprob.training import signals\n"
        "from deeprob.studies.sweep.study import Worker\n"
        "signals.watch()\n"
        f"with Worker(pathlib.Path({str(tmp_path)!r})) as worker:\n"
        "    assert worker.path.is_file()\n"
        "    os.kill(os.getpid(), signal.SIGUSR1)\n"
        "    time.sleep(30)\n"
    )
    environment = {**os.environ, "SLURM_JOB_ID": "7"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=60, check=False)
    assert done.returncode == LEAVE
    assert list((tmp_path / "workers").iterdir()) == []


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_sweep_whose_workers_die_tries_the_same_points(tmp_path, worker, sampler):
    whole = open_study(tmp_path / "whole", sampler=sampler, limit=14)
    finish(whole, worker)
    study = open_study(tmp_path, sampler=sampler, limit=14)
    for number in range(14):
        if number in (0, 1, 5, 12):
            study.claim(dead_worker(tmp_path))
        trial = study.claim(worker)
        study.tell(trial, float(trial.params["width"]), "complete")
    assert [t.params for t in study.ended()] == [t.params for t in whole.ended()]


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


@pytest.mark.parametrize(
    ("line", "said"), [("", "blank"), ("{{{", "damaged"), ("5", "damaged"), ('{"a": 1}', "damaged")]
)
def test_a_line_that_is_none_of_the_journals_is_named(tmp_path, worker, line, said):
    study = open_study(tmp_path)
    study.tell(study.claim(worker), 1.0, "complete")
    journal = tmp_path / "trial" / "journal.log"
    first, *rest = journal.read_text().splitlines()
    journal.write_text("\n".join([first, line, *rest]) + "\n")
    for look in (lambda: open_study(tmp_path), lambda: peek(tmp_path / "trial")):
        with pytest.raises(InputError, match=rf"journal\.log: line 2 is {said}; expected"):
            look()


def test_a_line_that_was_cut_off_is_mended(tmp_path, worker):
    study = open_study(tmp_path)
    study.tell(study.claim(worker), 1.0, "complete")
    with open(tmp_path / "trial" / "journal.log", "a", encoding="utf-8") as journal:
        journal.write('{"op_code": 5, "trial')
    study = open_study(tmp_path)
    study.tell(study.claim(worker), 2.0, "complete")
    assert [t.value for t in open_study(tmp_path).ended()] == [1.0, 2.0]
