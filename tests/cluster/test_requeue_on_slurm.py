"""Against a real scheduler: whatever stops a task of an array, it ends as if nothing had."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
import torch

from deeprob.cli import main
from deeprob.cluster.job import find_jobs
from deeprob.cluster.queue import progress
from deeprob.runs import Run
from deeprob.training.run import train_run

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).resolve().parents[2]
STEP = 6  # in the second epoch of four steps

# Stands still in its first start until it is stopped, or warned.
HOLD = """
import os, time
from lightning.pytorch import Callback
from deeprob.training import signals

class Hold(Callback):
    def on_train_batch_start(self, trainer, *_):
        if "SLURM_JOB_ID" not in os.environ or "SLURM_RESTART_COUNT" in os.environ:
            return
        if trainer.global_step == {step}:
            open(os.environ["DEEPROB_RUN_ID"] + ".pid", "w").write(str(os.getpid()))
            while not signals.warned():
                time.sleep(0.05)
"""


def weights(run):
    return torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]


CLUSTER = ["cluster=slurm", "cluster.cpus=1", "cluster.memory=null", "cluster.time='10'"]
HELD = ["allowed_targets=[hold]", "+callbacks.hold={_target_: hold.Hold}"]


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """Let what a test submits find the callback that stands still."""
    (tmp_path / "hold.py").write_text(HOLD.format(step=STEP))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")


def test_four_trainings_stopped_in_four_ways_end_as_if_they_had_not_been(
    slurm, tmp_path, squares_config, squares_overrides, hold, capsys
):
    overrides = [*squares_overrides, *HELD, "seed=0,1,2,3"]
    assert main(["submit", "train", *overrides, *CLUSTER, "cluster.signal_seconds=50"]) == 0
    assert "4 tasks" in capsys.readouterr().out
    (job,) = find_jobs(tmp_path / "runs" / "jobs", None)
    number = job.submissions[0].id
    held = [tmp_path / f"{Path(task.run).name}.pid" for task in job.tasks]
    slurm.wait_until(lambda: all(path.is_file() and path.read_text() for path in held), 240)
    states = progress(job)
    assert [p.state for p in states] == ["RUNNING"] * 4
    assert all(p.step == STEP and p.total_steps == 12 for p in states)
    assert main(["submit", "status", f"paths.runs_dir={tmp_path / 'runs'}"]) == 0
    assert re.search(r"RUNNING.*6/12.*val/top1_accuracy", capsys.readouterr().out.replace("\n", " "))

    slurm.said("scancel", "--signal=USR1", f"{number}_0")
    slurm.said("scontrol", "requeue", f"{number}_1")
    os.kill(int(held[2].read_text()), signal.SIGKILL)
    slurm.said("scontrol", "update", f"jobid={number}_3", "TimeLimit=1")  # then SLURM warns it
    slurm.wait_until(lambda: progress(job)[3].state == "PENDING", 120)
    slurm.said("scontrol", "update", f"jobid={number}_3", "TimeLimit=10")

    slurm.wait_until(lambda: all(p.state == "COMPLETED" for p in progress(job)), 200)
    for seed, task in enumerate(job.tasks):
        run, whole = Run(Path(task.run)), Run(tmp_path / "whole" / str(seed))
        whole.path.mkdir(parents=True)
        train_run(squares_config(f"seed={seed}"), whole, [])
        a, b = weights(whole), weights(run)
        assert not [name for name in a if not torch.equal(a[name], b[name])], seed
        assert run.read_metrics() == whole.read_metrics(), seed
        assert "metrics" in run.read_results()
    starts = [
        [json.loads(line)["step"] for line in Run(Path(task.run)).attempts.read_text().splitlines()]
        for task in job.tasks
    ]
    # What was warned goes on in mid-epoch, what was killed from the last epoch's end. `scontrol requeue`
    # warns by SIGTERM, and leaves it to chance whether there is time to save.
    assert starts.pop(1) in ([0, STEP + 1], [0, 4])
    assert starts == [[0, STEP + 1], [0, 4], [0, STEP + 1]]


def test_a_warning_during_imports_and_one_during_rendering_repeat_no_finished_work(
    slurm, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DEEPROB_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "set"
    render = ["render", "format=darknet", f"out={out}", "num=1000", "workers=2"]
    cluster = ["cluster=slurm", "cluster.cpus=2", "cluster.memory=null", "cluster.time='10'"]
    assert main(["submit", *render, *cluster]) == 0
    (job,) = find_jobs(tmp_path / "runs" / "jobs", None)
    number = job.submissions[0].id
    log = job.log(0)

    def starts():
        return log.read_text().count(", start ") if log.is_file() else 0

    slurm.wait_until(lambda: f"{number}_0.0" in slurm.said("squeue", "-h", "-s", "-o", "%i"), 60)
    slurm.said("scancel", "--signal=USR1", f"{number}_0")  # Python has hardly begun
    slurm.wait_until(lambda: starts() == 2, 120)
    slurm.wait_until(lambda: len(list(out.rglob("*.jpg"))) > 20, 240)
    slurm.said("scancel", "--signal=USR1", f"{number}_0")
    slurm.wait_until(lambda: starts() == 3, 120)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    slurm.wait_until(lambda: progress(job)[0].state == "COMPLETED", 200)
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    assert len(before) > 20
    assert len(after) == 1000
    again = {path.parent for path, written in before.items() if after[path] != written}
    assert len(again) <= 2  # of two processes, the scenes that each had begun
