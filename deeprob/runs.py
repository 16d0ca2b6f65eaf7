"""The run folder: its layout, and how a run is found again.

runs/<experiment>/<run id>/
    config.yaml overrides.txt environment.json     what was asked for, and where it ran
    data.json                                      classes and statistics of the data
    training.json                                  what the training cost
    metrics.jsonl attempts.jsonl log.txt           append-only, they survive a requeue
    checkpoints/{last,best}.ckpt
    results.json results_<split>.json predictions_<split>.npz report.html plots/
    error.txt                                      only after a failure
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeprob.errors import InputError
from deeprob.overrides import shell
from deeprob.records import ATTEMPTS, DATA, ENVIRONMENT, METRICS, RESULTS, TRAINING, read_record, read_rows
from deeprob.writing import LOCK_SECONDS, make_folder

_REQUEST = {"config.yaml", "overrides.txt", "environment.json", "data.json", "log.txt", "error.txt"}
_REQUEST |= {".lock", ".prepare.lock"}  # what is there before the first step


class InUseError(InputError):
    """A run folder in which another process trains."""


def given_run_id() -> str | None:
    """DEEPROB_RUN_ID, or the scheduler's job and task: a requeued job finds its folder by it. Else None."""
    given = os.environ.get("DEEPROB_RUN_ID")
    if given:
        return given
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    if job:
        task = os.environ.get("SLURM_ARRAY_TASK_ID")
        return f"{job}_{task}" if task else job
    return None


@dataclass(frozen=True)
class Run:
    """One run folder. Paths are properties, so that no other file spells a name."""

    path: Path

    @classmethod
    def create(cls, runs_dir: Path, experiment: str, run_id: str | None = None) -> Run:
        """The folder of a run id, made where it is not there; without an id a new one, named by the clock."""
        if run_id is None:
            return cls(_fresh_folder(runs_dir / experiment, time.strftime("%Y%m%d-%H%M%S")))
        path = runs_dir / experiment / run_id
        make_folder(path)
        return cls(path)

    @classmethod
    def find(cls, path: str | Path) -> Run:
        """An existing run folder. Raises InputError where there is none, naming the nearest thing to do."""
        run = cls(Path(path).expanduser())
        if not run.path.is_dir():
            raise InputError("no such run folder", where=run.path, fix="list them with: ls -d runs/*/*")
        if not run.config.is_file():
            raise InputError(
                "not a run folder, config.yaml is missing",
                where=run.path,
                expected="a folder written by `deeprob train`, such as runs/quickstart/20260101-120000",
            )
        return run

    def forget(self) -> None:
        """Take away the folder of a request that was refused before anything came of it."""
        if {path.name for path in self.path.iterdir()} <= _REQUEST:
            shutil.rmtree(self.path)
            with contextlib.suppress(OSError):  # it holds others
                self.path.parent.rmdir()

    @property
    def argument(self) -> str:
        """`run=<folder>`, to paste into a shell."""
        return shell("run", self.path)

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def experiment(self) -> str:
        return self.path.parent.name

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def overrides(self) -> Path:
        return self.path / "overrides.txt"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def training(self) -> Path:
        return self.path / "training.json"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def attempts(self) -> Path:
        return self.path / "attempts.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def error(self) -> Path:
        return self.path / "error.txt"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    def checkpoint(self, name: str) -> Path:
        """`last` or `best`."""
        return self.checkpoints / f"{name}.ckpt"

    @property
    def requeue_checkpoints(self) -> list[Path]:
        """What Lightning saved in the middle of an epoch before a requeue."""
        return sorted(self.path.glob("hpc_ckpt_*.ckpt"))

    def results(self, split: str | None = None) -> Path:
        """results.json of the split the experiment is judged by, or results_<split>.json of another."""
        return self.path / (f"results_{split}.json" if split else "results.json")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process. Raises InputError where another process trains in it.

        The kernel lets the lock go when its process ends, however that happens. A file server may notice the
        death of a node minutes later: a job that was queued again waits so long.
        """
        patience = LOCK_SECONDS if int(os.environ.get("SLURM_RESTART_COUNT") or 0) else 0
        deadline = time.monotonic() + patience
        with open(self.path / ".lock", "w", encoding="utf-8") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise InUseError(
                            "another process is training in this folder", where=self.path
                        ) from None
                time.sleep(0.2)
            yield

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl in order; a row cut off by a kill, or of another form, is left out."""
        return list(read_rows(self.metrics, METRICS))

    def read_attempts(self) -> list[dict[str, Any]]:
        """The starts of the run, of attempts.jsonl."""
        return list(read_rows(self.attempts, ATTEMPTS))

    def read_training(self) -> dict[str, Any]:
        """training.json, nothing before the training has ended. Raises InputError where the file broke."""
        if not self.training.is_file():
            return {}
        return read_record(self.training, TRAINING, f"run: deeprob train {self.argument}")

    def read_data(self) -> dict[str, Any] | None:
        """data.json, None where an earlier version wrote none. Raises InputError where the file broke."""
        return read_record(self.data, DATA) if self.data.is_file() else None

    def read_environment(self) -> dict[str, Any]:
        """environment.json, nothing where there is none. Raises InputError where the file broke."""
        return read_record(self.environment, ENVIRONMENT) if self.environment.is_file() else {}

    def read_results(self, split: str | None = None) -> Mapping[str, Any]:
        """results.json as written. Raises InputError where the run was not evaluated or the file broke."""
        path, fix = self.results(split), f"run: deeprob evaluate {self.argument}"
        try:
            return read_record(path, RESULTS, fix)
        except FileNotFoundError:
            raise InputError("the run has no results yet", where=path, fix=fix) from None


def _fresh_folder(parent: Path, run_id: str) -> Path:
    """Make parent/run_id, or parent/run_id-2 and so on where another run of the same second took the name."""
    make_folder(parent)
    attempt = 1
    while True:
        path = parent / (run_id if attempt == 1 else f"{run_id}-{attempt}")
        try:
            path.mkdir()
        except FileExistsError:
            attempt += 1
        else:
            return path
