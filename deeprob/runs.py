"""The run folder: its layout, how a run is found again, and how a file is written whole.

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
import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from deeprob.errors import InputError
from deeprob.overrides import shell
from deeprob.records import ATTEMPTS, DATA, ENVIRONMENT, METRICS, RESULTS, TRAINING, read_record, read_rows

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # no fault of the input
LOCK_SECONDS = 180.0  # until a file server lets go of a dead node's lock


class InUseError(InputError):
    """A run folder in which another process trains."""


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary neighbour of `path`, and put it in its place only when the block ends well.

    A reader sees the old file or the new one, never a part, also after kill -9 or a full disk. Raises OSError
    that names `path` where nothing can be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        # Names of files and classes may hold what UTF-8 has no place for: a stray byte, half of a pair.
        text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace"}
        with naming(path), os.fdopen(descriptor, mode, **text) as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must outlive a power cut
    finally:
        os.close(folder)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise a full or failing disk's error with the path that was being written, whoever met it."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # torch and zipfile tell it in words of their own
        cause: BaseException | None = error
        while cause is not None and getattr(cause, "errno", None) not in DISK:
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, OSError) and cause.filename is None:
            raise OSError(cause.errno, cause.strerror, str(path)) from error
        if (
            isinstance(error, OSError) and error.errno is None
        ):  # NumPy forgets the number when it cannot write
            raise OSError(errno.ENOSPC, f"no room for all of it ({error})", str(path)) from error
        raise


def append_line(path: Path, line: str) -> None:
    """Append a line, on a line of its own also where a full disk or a kill cut off the one before."""
    with naming(path), open(path, "a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode("utf-8", "backslashreplace") + b"\n")


def sweep(folder: Path) -> None:
    """Delete what writers that were killed left in a folder; a living one holds its file locked."""
    for path in folder.glob(".*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime < LOCK_SECONDS:
                continue  # it may be about to be locked
            if path.is_dir():
                shutil.rmtree(path)
                continue
            with open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink()


def make_folder(path: Path, fix: str | None = None) -> None:
    """Make a folder and those above it. Raises InputError, with what to do, where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"no folder can be made here ({error.strerror})", where=path, fix=fix) from error


def _umask() -> int:
    """The process's file creation mask; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with atomic_file(path) as file:
        file.write(text)


def write_new(path: Path, text: str) -> bool:
    """Write `text` to `path`, whole, unless there is such a file: of several processes one succeeds.

    Returns whether it was written.
    """
    if path.exists():
        return False
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".partial") as folder:
        whole = Path(folder) / path.name
        write_text(whole, text)
        try:
            os.link(whole, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            os.rename(whole, path)
    return True


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


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
