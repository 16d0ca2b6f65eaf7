"""An array on this machine, without a scheduler: processes that outlive the terminal, a few at a time.

    python -m deeprob.cluster.local JOB_FOLDER TASK [TASK ...]

runs those tasks; `submit` puts that into the background.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from deeprob.cluster.job import Job

POLL_SECONDS = 0.2


def submit(job: Job, tasks: Sequence[int]) -> str:
    """Run those tasks in the background; returns the number of the process that sees to it."""
    with open(job.folder / "runner.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(job.folder), *map(str, tasks)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return str(process.pid)


def cancel(job: Job) -> None:
    """End the runners of a job and all that they started."""
    for runner in _alive(job):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(runner, signal.SIGTERM)


def states(job: Job) -> dict[int, str]:
    """RUNNING or PENDING for the tasks that a living runner has in hand."""
    found: dict[int, str] = {}
    for submission in job.submissions:
        if int(submission.id) not in _alive(job):
            continue
        for task in submission.tasks:
            if _started(job, task) > submission.time:
                if job.exit_code(task) is None:
                    found[task] = "RUNNING"
            else:
                found[task] = "PENDING"
    return found


def _started(job: Job, task: int) -> float:
    """When a task was last started, 0 for never."""
    try:
        return (job.folder / "started" / str(task)).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _alive(job: Job) -> list[int]:
    """The runners of this job that still live: their numbers may long belong to other processes."""
    found = []
    for submission in job.submissions:
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{submission.id}/cmdline").read_bytes().split(b"\0")
            if os.fsencode(job.folder) in command:
                found.append(int(submission.id))
    return found


def run(job: Job, tasks: Sequence[int]) -> None:
    """Run tasks of a job, `job.at_a_time` together, each with its own log."""
    waiting, running = list(tasks), list[subprocess.Popen[bytes]]()
    (job.folder / "started").mkdir(exist_ok=True)
    while waiting or running:
        while waiting and len(running) < (job.at_a_time or len(tasks)):
            task = waiting.pop(0)
            (job.folder / "exit" / str(task)).unlink(missing_ok=True)
            (job.folder / "started" / str(task)).write_text(f"{time.time()}\n", encoding="utf-8")
            with open(job.log(task), "ab") as log:
                running.append(
                    subprocess.Popen(
                        ["bash", str(job.script), str(task)],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
        time.sleep(POLL_SECONDS)
        running = [process for process in running if process.poll() is None]


if __name__ == "__main__":
    run(Job.read(Path(sys.argv[1])), [int(task) for task in sys.argv[2:]])
