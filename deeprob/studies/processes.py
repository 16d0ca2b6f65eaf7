"""Trainings as processes of their own: several at a time, live progress, finished ones skipped."""

from __future__ import annotations

import ctypes
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from deeprob.errors import InputError
from deeprob.records import mapping, read_record
from deeprob.runs import Run

COMMAND = (sys.executable, "-m", "deeprob", "train")
OUTPUT = "output.txt"  # what the process printed, in its run folder
POLL_SECONDS = 0.2
GRACE_SECONDS = 60.0  # for a run to write its checkpoint after Ctrl-C


@dataclass(frozen=True)
class Job:
    """A training: the overrides of `deeprob train`, and the run folder that it will write."""

    label: str
    overrides: tuple[str, ...]
    run: Run

    @property
    def done(self) -> bool:
        """Whether its results are there and whole."""
        try:
            return bool(read_record(self.run.results(), mapping(needed=("metrics",))))
        except (FileNotFoundError, InputError):
            return False


def run_all(
    jobs: Sequence[Job],
    console: Console,
    at_a_time: int = 1,
    *,
    most: int | None = None,
    hours: float | None = None,
) -> dict[str, str]:
    """Run what is not done, `at_a_time` processes together. Returns label -> error line of those that failed.

    most, hours: start no more than so many, and none after so many hours; those that run are finished.
    Ctrl-C stops the running ones in their own way (a run keeps its last checkpoint) and raises
    KeyboardInterrupt.
    """
    waiting = [job for job in jobs if not job.done]
    left = len(waiting) if most is None else most
    deadline = math.inf if hours is None else time.monotonic() + 3600 * hours
    states = {job.label: _State(job, "waiting" if job in waiting else "done before") for job in jobs}
    running: list[_State] = []
    live = Live(
        console=console,
        transient=True,
        refresh_per_second=2,
        get_renderable=lambda: _table(states.values()),
    )
    on_terminal = console.is_terminal
    try:
        if on_terminal:
            live.start()
        while True:
            if left <= 0 or time.monotonic() >= deadline:
                waiting = []
            if not waiting and not running:
                break
            while waiting and left > 0 and len(running) < at_a_time:
                left -= 1
                state = states[waiting.pop(0).label]
                state.start(at_a_time)
                running.append(state)
            time.sleep(POLL_SECONDS)
            for state in [s for s in running if s.ended()]:
                running.remove(state)
                if not on_terminal:
                    console.print(f"{state.job.label}  {state.status}", highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        _stop(running)
        raise
    finally:
        live.stop()
    return {label: state.error for label, state in states.items() if state.error is not None}


class _State:
    """A job and how far it is."""

    def __init__(self, job: Job, status: str) -> None:
        self.job = job
        self.status = status
        self.error: str | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._since = 0.0

    def start(self, at_a_time: int) -> None:
        run = self.job.run
        run.path.mkdir(parents=True, exist_ok=True)
        run.error.unlink(missing_ok=True)
        environment = {**os.environ, "DEEPROB_RUN_ID": run.run_id, "PYTHONUNBUFFERED": "1"}
        if at_a_time > 1:  # processes that each take every core slow each other down
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // at_a_time)))
        self._output = open(run.path / OUTPUT, "wb")  # noqa: SIM115  closed when the process ends
        self._since = time.monotonic()
        self.process = subprocess.Popen(
            [*COMMAND, *self.job.overrides],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # the terminal's Ctrl-C reaches us alone, and we pass it on once
            preexec_fn=die_with_parent() if sys.platform == "linux" else None,
        )
        self.status = "running"

    def ended(self) -> bool:
        assert self.process is not None
        assert self._output is not None
        code = self.process.poll()
        if code is None:
            return False
        self._output.close()
        seconds = time.monotonic() - self._since
        if code == 0 and self.job.done:
            self.status = f"done in {seconds:.0f} s"
        else:
            self.error = error_line(self.job.run, code)
            self.status = f"failed after {seconds:.0f} s: {self.error}"
        return True

    def shown(self) -> str:
        if self.status != "running":
            return self.status
        rows = self.job.run.read_metrics()
        epochs = [row["epoch"] for row in rows[-200:] if isinstance(row.get("epoch"), int)]
        epoch = f", epoch {epochs[-1] + 1} done" if epochs else ""
        return f"running {time.monotonic() - self._since:.0f} s{epoch}"


def error_line(run: Run, code: int) -> str:
    """The line that tells why a run failed: from its error.txt, else the last that it printed."""
    for path in (run.error, run.path / OUTPUT):
        lines = _lines(path)
        if lines:
            return re.sub(r"^(\w+\.)+(?=\w+: )", "", lines[-1])  # the error's name without its module
    return f"ended with exit code {code} and said nothing"


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def die_with_parent() -> Callable[[], None]:
    """Return a call by which a child asks Linux to stop it when we are killed; the library is loaded here."""
    prctl = ctypes.CDLL(None).prctl
    set_parent_death_signal = 1

    def ask() -> None:
        prctl(set_parent_death_signal, signal.SIGTERM)

    return ask


def _stop(running: Sequence[_State]) -> None:
    """Pass Ctrl-C on, wait until the runs have written what they have, then end those that did not."""
    processes = [state.process for state in running if state.process is not None]
    for process in processes:
        process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _table(states: object) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for state in states:  # type: ignore[attr-defined]
        table.add_row(state.job.label, state.shown(), style=None if state.process else "dim")
    return table
