"""A job's folder: what was submitted, in files that a human reads and a scheduler runs.

<paths.runs_dir>/jobs/<date>-<time>-<verb>/
    job.sh tasks.txt     the script, and one command a line for its array
    job.json             the same for `deeprob submit status`, and every submission of it
    logs/<task>.log      what each task printed, over all its starts
    exit/<task>          the exit code of a task that ended by itself
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deeprob.cluster.tasks import Task
from deeprob.errors import InputError
from deeprob.writing import write_json, write_text


@dataclass(frozen=True)
class Submission:
    """One submission of tasks. id: the scheduler's number, or the local runner's process."""

    id: str
    tasks: list[int]
    time: float
    cancelled: bool = False


@dataclass(frozen=True)
class Job:
    """A folder of tasks. at_a_time: how many run together, 0 for no limit."""

    folder: Path
    scheduler: str
    at_a_time: int
    tasks: list[Task]
    submissions: list[Submission]

    @classmethod
    def read(cls, folder: Path) -> Job:
        """The job of a folder. Raises InputError where its job.json is missing or broken."""
        path = folder / "job.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                folder,
                content["scheduler"],
                content["at_a_time"],
                [Task(**task) for task in content["tasks"]],
                [Submission(**submission) for submission in content["submissions"]],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"not a job ({error})", where=path) from error

    def write(self) -> None:
        """Write what the scheduler and `status` read; job.sh is written by `script.write_script`."""
        for name in ("logs", "exit"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "tasks.txt", "".join(f"{task.line}\n" for task in self.tasks))
        content: dict[str, Any] = {"schema": 1, "scheduler": self.scheduler, "at_a_time": self.at_a_time}
        content["tasks"] = [asdict(task) for task in self.tasks]
        content["submissions"] = [asdict(submission) for submission in self.submissions]
        write_json(self.folder / "job.json", content)

    def submitted(self, number: str, tasks: Sequence[int], when: float) -> Job:
        """The same job with one submission more, written."""
        job = replace(self, submissions=[*self.submissions, Submission(number, list(tasks), when)])
        job.write()
        return job

    def cancelled(self) -> Job:
        """The same job with all its submissions marked as cancelled, written."""
        job = replace(self, submissions=[replace(s, cancelled=True) for s in self.submissions])
        job.write()
        return job

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def script(self) -> Path:
        return self.folder / "job.sh"

    def log(self, task: int) -> Path:
        return self.folder / "logs" / f"{task}.log"

    def exit_code(self, task: int) -> int | None:
        """The code that a task ended with, None while it runs or when it was killed."""
        try:
            return int((self.folder / "exit" / str(task)).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None


def free_folder(jobs_dir: Path, verb: str) -> Path:
    """Return a folder for a new job, not made yet: its name begins those of the run folders."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (f"{stamp}-{verb}" + (f"-{attempt}" if attempt > 1 else "") for attempt in itertools.count(1))
    return next(jobs_dir / name for name in names if not (jobs_dir / name).exists())


def check_writable(folder: Path) -> None:
    """Raise InputError where no file can be made in `folder`, or in what it would be made in."""
    probe = folder / f".probe-{time.time_ns()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot be written ({error.strerror})", where=folder, fix="set paths.runs_dir or cluster.scratch"
    )


def _readable(folders: Sequence[Path]) -> list[Job]:
    jobs = []
    for folder in folders:
        try:
            jobs.append(Job.read(folder))
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
    return jobs


def find_jobs(jobs_dir: Path, wanted: str | None) -> list[Job]:
    """Jobs by name or scheduler's number, `all` of them, or with None the newest; oldest first.

    Of several, those that cannot be read get a line on stderr. Raises InputError where there is none, and
    for one that was named and cannot be read.
    """
    folders = sorted(path.parent for path in jobs_dir.glob("*/job.json"))
    chosen = folders[-1:] if wanted is None else [folder for folder in folders if folder.name == wanted]
    jobs = [Job.read(folder) for folder in chosen] or _readable(folders)
    if not chosen and wanted != "all":
        jobs = [job for job in jobs if wanted in {s.id for s in job.submissions}]
    if not jobs:
        what = "no job" if wanted in (None, "all") else f"no job {wanted!r}"
        known = " ".join(folder.name for folder in folders[-5:])
        raise InputError(
            what,
            where=jobs_dir,
            expected=f"one of: {known}" if known else None,
            fix="deeprob submit train ...",
        )
    return jobs
