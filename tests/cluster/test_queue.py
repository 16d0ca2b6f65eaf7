"""How far a training is, from its run folder alone."""

import json
import os
import time

import pytest

from deeprob.cluster import queue
from deeprob.cluster.job import Job, Submission, check_writable, find_jobs, free_folder
from deeprob.cluster.tasks import Task
from deeprob.errors import InputError
from deeprob.runs import Run


@pytest.fixture
def training(tmp_path, monkeypatch):
    """A task that trains since 100 s, after a requeue at step 20 of 100."""
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.config.write_text("trainer: {monitor: val/top1_accuracy}\n")
    now = time.time()
    starts = [
        {"time": now - 900, "step": 0, "total_steps": 100},
        {"time": now - 100, "step": 20, "total_steps": 100},
    ]
    run.attempts.write_text("".join(json.dumps(start) + "\n" for start in starts))
    rows = [
        {"step": 19, "val/top1_accuracy": 0.5},
        {"step": 69, "val/top1_accuracy": 0.75},
        {"step": 69, "epoch": 6},
    ]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(run.metrics, (now, now))
    job = Job(
        tmp_path / "jobs/a", "slurm", 0, [Task("seed=0", "", str(run.path))], [Submission("5", [0], now)]
    )
    job.write()
    monkeypatch.setattr(queue.slurm, "states", lambda numbers: {"5_0": ("RUNNING", "n1")})
    return job, run


def test_progress_and_what_is_left_are_those_of_this_start(training):
    (progress,) = queue.progress(training[0])
    assert (progress.step, progress.total_steps, progress.starts) == (70, 100, 2)
    assert progress.metric == ("val/top1_accuracy", 0.75)
    assert progress.seconds_left == pytest.approx(100 / 50 * 30, rel=0.01)


def test_a_failed_training_shows_its_own_line(training, monkeypatch):
    job, run = training
    monkeypatch.setattr(queue.slurm, "states", lambda numbers: {})
    (job.folder / "exit/0").write_text("1\n")
    run.error.write_text(
        "Traceback ...\n  File ...\ndeeprob.errors.NonFiniteError: step 7: the loss is NaN\n"
    )
    (progress,) = queue.progress(job)
    assert (progress.state, progress.where) == ("FAILED", "step 7: the loss is NaN")
    assert progress.seconds_left is None


def test_what_was_only_written_is_not_submitted(tmp_path):
    job = Job(tmp_path / "jobs/a", "slurm", 0, [Task("", "")], [])
    job.write()
    assert queue.progress(job)[0].state == "UNSUBMITTED"


def test_jobs_are_found_by_name_and_by_number(training, tmp_path):
    jobs_dir = tmp_path / "jobs"
    for wanted in ("a", "5", "all", None):
        assert [job.name for job in find_jobs(jobs_dir, wanted)] == ["a"]
    with pytest.raises(InputError, match="no job 'b'; expected one of: a"):
        find_jobs(jobs_dir, "b")


def test_a_broken_job_is_named(training):
    job, _ = training
    (job.folder / "job.json").write_text("{")
    with pytest.raises(InputError, match=r"jobs/a/job\.json: not a job"):
        Job.read(job.folder)


def test_a_broken_job_does_not_hide_the_others(training, tmp_path, capsys):
    other = tmp_path / "jobs" / "b"
    other.mkdir()
    (other / "job.json").write_text("{")
    for wanted in ("a", "5", "all"):
        assert [job.name for job in find_jobs(tmp_path / "jobs", wanted)] == ["a"]
    assert f"left out: {other / 'job.json'}: not a job" in capsys.readouterr().err
    for wanted in ("b", None):  # the newest
        with pytest.raises(InputError, match=r"jobs/b/job\.json: not a job"):
            find_jobs(tmp_path / "jobs", wanted)


def test_a_task_with_damaged_files_does_not_hide_the_others(training, tmp_path):
    job, _ = training
    study = tmp_path / "sweeps" / "mine"
    study.mkdir(parents=True)
    (study / "journal.log").write_text("{{{\n")
    sweep = Task("worker 0", "", study=str(study), trials=4)
    both = Job(job.folder, "slurm", 0, [sweep, *job.tasks], [Submission("5", [0, 1], time.time())])
    damaged, whole = queue.progress(both)
    assert damaged.state == "RUNNING"
    assert "journal.log: line 1 is damaged" in damaged.where
    assert (whole.label, whole.step) == ("seed=0", 70)


@pytest.mark.parametrize("content", ["a: [", "trainer: 5\n", "\0"])
def test_a_task_whose_config_is_damaged_has_a_line(training, content):
    job, run = training
    run.config.write_text(content)
    (progress,) = queue.progress(job)
    assert progress.state == "RUNNING"


def test_two_jobs_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("deeprob.cluster.job.time.strftime", lambda form: "20260101-000000")
    first = free_folder(tmp_path, "train")
    first.mkdir()
    assert free_folder(tmp_path, "train").name == "20260101-000000-train-2"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/below: cannot be written .*set paths\.runs_dir"):
        check_writable(tmp_path / "file" / "below")


def test_a_sweep_shows_its_trials_and_the_best_value(tmp_path, monkeypatch):
    from deeprob.studies.sweep.space import distributions
    from deeprob.studies.sweep.study import SharedStudy, Worker

    folder = tmp_path / "sweeps" / "mine"
    task = Task("worker 0", "", study=str(folder), trials=4)
    job = Job(tmp_path / "jobs/a", "slurm", 0, [task], [Submission("5", [0], time.time())])
    job.write()
    monkeypatch.setattr(queue.slurm, "states", lambda numbers: {"5_0": ("RUNNING", "n1")})
    assert queue.progress(job)[0].total_steps is None  # nothing is there yet
    space = distributions({"width": [4, 8]})
    own = {"sampler": "random", "pruner": "none", "warmup": 0, "mode": "max", "limit": 4, "seed": 0}
    study = SharedStudy(folder, {"metric": "val/top1_accuracy"}, space, **own)
    with Worker(folder) as worker:
        for value in (0.5, 0.75):
            study.tell(study.claim(worker), value, "complete")
        study.claim(worker)  # still at work
        (progress,) = queue.progress(Job.read(job.folder))
    assert (progress.step, progress.total_steps) == (2, 4)
    assert progress.metric == ("best val/top1_accuracy", 0.75)
    assert progress.seconds_left > 0
