"""Against a real scheduler: a sweep whose workers are killed again and again ends with every trial, once."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from deeprob.cli import main
from deeprob.cluster.job import find_jobs
from deeprob.cluster.queue import progress
from deeprob.config import compose
from deeprob.overrides import quoted
from deeprob.runs import Run
from deeprob.studies.sweep.study import folder_name
from deeprob.studies.sweep.trial import plan, value_of

pytestmark = pytest.mark.slurm
ROOT = Path(__file__).resolve().parents[2]
TRIALS, WORKERS, KILLS = 40, 2, 7
WAYS = ("kill", "kill", "kill", "requeue", "warn")
CLUSTER = ["cluster=slurm", "cluster.cpus=1", "cluster.memory=null", "cluster.time='30'"]


def process_of(number, task):
    """The process of a task of an array that srun has started, None while there is none."""
    wanted = {f"SLURM_ARRAY_JOB_ID={number}", f"SLURM_ARRAY_TASK_ID={task}"}
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            environment = set((folder / "environ").read_text(errors="replace").split("\0"))
        except OSError:  # it has just ended
            continue
        if command[1:4] == [b"-m", b"deeprob", b"sweep"] and wanted <= environment:
            return int(folder.name)
    return None


def is_at_work(planned, pid):
    """Whether the process is on a trial."""
    running = planned.study().optuna.get_trials(states=(TrialState.RUNNING,))
    return any(f"-{pid}-" in str(trial.user_attrs.get("worker")) for trial in running)


def stop(slurm, number, task, way, planned=None):
    """Stop a task; returns whether there was one. planned: only where it is on a trial of this sweep."""
    pid = process_of(number, task)
    if pid is None or (planned is not None and not is_at_work(planned, pid)):
        return False
    if way == "kill":
        os.kill(pid, signal.SIGKILL)
    elif way == "requeue":
        slurm.said("scontrol", "requeue", f"{number}_{task}")
    else:
        slurm.said("scancel", "--signal=USR1", f"{number}_{task}")
    return True


def test_workers_killed_at_random_lose_no_trial_and_count_none_twice(
    slurm, tmp_path, squares_overrides, monkeypatch, capsys
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    own = [o for o in squares_overrides if not o.startswith(("name=", "paths.", "model.width"))]
    paths = [o for o in squares_overrides if o.startswith("paths.")]
    sweep = [
        "sweep.name=killed",
        "sweep.experiment=quickstart",
        f"sweep.trials={TRIALS}",
        "sweep.pruner=none",
        "+sweep.space={optim.optimizer.lr: {low: 0.01, high: 0.3, log: true}, model.width: [4, 8]}",
        f"sweep.trial_overrides=[{','.join(map(quoted, own))}]",
        *paths,
    ]
    assert main(["submit", "sweep", *sweep, f"workers={WORKERS}", *CLUSTER, "cluster.kill_retries=50"]) == 0
    (job,) = find_jobs(tmp_path / "runs" / "jobs", None)
    number = job.submissions[0].id
    planned = plan(compose("sweep", sweep))

    # Two while they begin, the others spread over the work: after so many trials, and a moment more. Enough
    # trials are left after the last for a worker to be at work.
    chance, stopped = random.Random(0), []
    for after in [0, 0, *sorted(chance.sample(range(1, TRIALS - 14), KILLS - 2))]:
        slurm.wait_until(lambda after=after: (progress(job)[0].step or 0) >= after, 120)
        time.sleep(chance.uniform(0, 4))
        first, way = chance.randrange(WORKERS), chance.choice(WAYS)
        in_turn = [(first + turn) % WORKERS for turn in range(WORKERS)]
        patience = time.monotonic() + (8 if after else 0)  # for a worker that is on a trial

        def struck(way=way, order=in_turn, patience=patience):
            of = planned if time.monotonic() < patience else None
            return any(stop(slurm, number, n, way, of) for n in order)

        slurm.wait_until(struck, 60)
        stopped.append(way)
    assert set(stopped) == set(WAYS)
    assert main(["submit", "status", *paths]) == 0
    assert f"/{TRIALS}" in capsys.readouterr().out
    slurm.wait_until(lambda: all(p.state == "COMPLETED" for p in progress(job)), 240)

    study = planned.study()
    everything, ended = study.optuna.get_trials(), study.ended()
    assert [t.state.name for t in ended] == ["COMPLETE"] * TRIALS
    died = [t for t in everything if t.user_attrs.get("died")]
    assert len(died) >= 2  # else nothing was tried
    assert len(everything) == TRIALS + len(died)
    points = [json.dumps(t.params, sort_keys=True) for t in ended]
    assert len(set(points)) == TRIALS
    assert {json.dumps(t.params, sort_keys=True) for t in died} <= set(points)
    assert sorted(map(folder_name, ended)) == sorted(p.name for p in planned.folder.glob("trial-*"))
    for trial in ended:
        run = Run(planned.folder / folder_name(trial))
        epochs = [row["epoch"] for row in run.read_metrics() if "val/top1_accuracy" in row]
        assert epochs == [0, 1, 2], run.path
        assert trial.value == value_of(run, planned.metric, planned.mode, planned.judged_by)
    assert (planned.folder / "report.html").is_file()
    assert [(p.step, p.total_steps) for p in progress(job)] == [(TRIALS, TRIALS)] * WORKERS
