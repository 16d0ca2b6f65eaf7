"""Handing tasks over, whatever runs them, and how far each is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from deeprob.cluster import local, slurm
from deeprob.cluster.job import Job
from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.training.signals import LEAVE

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED")
ACTIVE = (*WAITING, "RUNNING", "COMPLETING", "STAGE_OUT", "RESIZING", "SIGNALING")


@dataclass(frozen=True)
class Progress:
    """How far a task is.

    state: SLURM's word for it, or what its files say: COMPLETED, FAILED, CANCELLED, LOST (killed, and nothing
    knows by what), UNSUBMITTED. where: node, why it waits, or its error. step, total_steps: of training, or
    the trials of a sweep. metric: the last value of what the run is judged by, with its name; of a sweep, the
    best. seconds_left: at this start's pace.
    starts: of the training, those after a requeue too.
    """

    task: int
    label: str
    state: str
    where: str = ""
    step: int | None = None
    total_steps: int | None = None
    metric: tuple[str, float] | None = None
    seconds_left: float | None = None
    starts: int = 0


def submit(job: Job, tasks: Sequence[int]) -> Job:
    """Hand tasks over to the job's scheduler; returns at once."""
    now = time.time()
    number = slurm.submit(job, tasks) if job.scheduler == "slurm" else local.submit(job, tasks)
    return job.submitted(number, tasks, now)


def cancel(job: Job) -> Job:
    """Take the job's tasks out of the queue, and end those that run."""
    if job.scheduler == "slurm":
        slurm.cancel([submission.id for submission in job.submissions])
    else:
        local.cancel(job)
    return job.cancelled()


def resubmit(job: Job) -> tuple[Job, list[int]]:
    """Hand over again what neither runs nor waits nor is done. Raises InputError where there is nothing."""
    again = [p.task for p in progress(job) if p.state != "COMPLETED" and p.state not in ACTIVE]
    if not again:
        raise InputError("every task is done, runs or waits", where=job.name)
    return submit(job, again), again


def progress(job: Job) -> list[Progress]:
    """How far every task of a job is."""
    if job.scheduler == "slurm":
        queued = slurm.states([submission.id for submission in job.submissions])
    else:
        queued = {}
        for task, state in local.states(job).items():
            queued[f"{job.submissions[-1].id}_{task}"] = (state, "")
    return [_of_task(job, number, queued) for number in range(len(job.tasks))]


def _of_task(job: Job, number: int, queued: dict[str, tuple[str, str]]) -> Progress:
    handed_over = [s for s in job.submissions if number in s.tasks]
    state, where = "UNSUBMITTED", ""
    if handed_over:
        newest = handed_over[-1]
        state, where = queued.get(f"{newest.id}_{number}", ("", ""))
        if state not in ACTIVE:
            code = job.exit_code(number)
            if code is not None:
                state = "COMPLETED" if code == 0 else "FAILED"
                where = "" if code == 0 else _meaning(code)
            elif not state:
                state = "CANCELLED" if newest.cancelled else "LOST"
    task = job.tasks[number]
    facts: dict[str, Any] = {}
    try:
        if task.run:
            facts = _of_run(Run(Path(task.run)), running=state == "RUNNING")
        elif task.study:
            facts = _of_study(Path(task.study), task.trials or 0, running=state == "RUNNING")
    except (InputError, OSError) as error:  # its files are damaged: the other tasks are still told of
        where = " ".join(f"{where} {error}".split())
    if state == "FAILED" and "error" in facts:
        where = facts["error"]
    facts.pop("error", None)
    return Progress(number, task.label, state, where, **facts)


def _meaning(code: int) -> str:
    """What a task's exit code says to who looks at it."""
    if code == LEAVE:  # with cluster.requeue=false, or where the cluster does not requeue
        return "stopped by the scheduler, all is saved; deeprob submit resubmit"
    return f"exit code {code}"


def _of_run(run: Run, running: bool) -> dict[str, Any]:
    """What the run folder says of progress."""
    attempts = run.read_attempts()
    facts: dict[str, Any] = {"starts": len(attempts)}
    rows = run.read_metrics()
    metric = _judged_by(run)
    values = [row[metric] for row in rows if row.get(metric) is not None]
    if values:
        facts["metric"] = (metric, values[-1])
    if attempts:
        start = attempts[-1]
        steps = [row["step"] + 1 for row in rows if isinstance(row.get("step"), int)]
        step = facts["step"] = max([start["step"], *steps])
        total = facts["total_steps"] = start["total_steps"]
        done = step - start["step"]
        if running and done > 0:
            facts["seconds_left"] = (run.metrics.stat().st_mtime - start["time"]) / done * (total - step)
    if run.error.is_file():
        lines = run.error.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        facts["error"] = lines[-1].rpartition("Error: ")[2] if lines else ""
    return facts


def _of_study(folder: Path, trials: int, running: bool) -> dict[str, Any]:
    """What a sweep's study says: the trials that ended, and the best value of its metric."""
    from deeprob.studies.sweep.study import peek

    found = peek(folder)
    if found is None:
        return {}
    study, ended = found
    facts: dict[str, Any] = {"step": len(ended), "total_steps": trials}
    values = [t.value for t in ended if t.value is not None]
    if values:
        best = max(values) if study.direction.name == "MAXIMIZE" else min(values)
        facts["metric"] = (f"best {study.user_attrs['definition']['metric']}", best)
    if running and ended:
        begin = min(t.datetime_start for t in ended if t.datetime_start)
        pace = (datetime.now() - begin).total_seconds() / len(ended)
        facts["seconds_left"] = pace * max(trials - len(ended), 0)
    return facts


def _judged_by(run: Run) -> str:
    """The metric that the run's best checkpoint is chosen by."""
    from omegaconf import OmegaConf

    from deeprob.config_files import read_written

    if not run.config.is_file():
        return ""
    named = OmegaConf.select(read_written(run.config), "trainer.monitor", default=None)
    logged = (
        key for row in run.read_metrics() for key in row if key.startswith("val/") and key != "val/loss"
    )
    return str(named or next(logged, ""))  # a task logs its headline first
