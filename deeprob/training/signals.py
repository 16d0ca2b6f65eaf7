"""The scheduler's warning that a job is about to be stopped: never lost, never taken in mid-step.

The warning is SIGUSR1 before a time limit, and SIGTERM when a preemption's time of grace begins. SIGUSR1 is
blocked in every thread and every child from the process's first line, and one thread waits for it; SIGTERM
becomes SIGUSR1. Outside the training loop (imports, rendering, evaluation) nothing has to be saved: every
file is written whole and finished work is not repeated, so the process leaves at once with exit code LEAVE,
and the job script puts the job back into the queue. Inside the loop `requeue.py` asks between two steps
whether it came.

Without the blocking the signal kills a process that still imports, stops a rendering process, or saves a
checkpoint in the middle of an optimiser's step.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

LEAVE = 75  # EX_TEMPFAIL of sysexits.h: try again
_came = threading.Event()
_deciding = threading.Lock()
_farewells: list[Callable[[], None]] = []  # what `_wait` does before it leaves
_loops = 0  # training loops that will act on the warning themselves
_watcher: int | None = None  # the process that waits for it
_terminated = False


class Requeued(SystemExit):
    """The process leaves with what is needed to go on already on disk."""

    def __init__(self) -> None:
        super().__init__(LEAVE)


def watch() -> None:
    """Wait for the warning from here on, where a scheduler runs this process; elsewhere do nothing.

    To be called once, in the main thread, before anything starts another thread.
    """
    global _watcher
    if "SLURM_JOB_ID" not in os.environ:
        return
    _watcher = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    threading.Thread(target=_wait, name="requeue-signal", daemon=True).start()
    take_termination()


def watching() -> bool:
    """Whether `watch` found a scheduler."""
    return _watcher is not None


def take_termination() -> None:
    """Take SIGTERM as the warning where `watch` was called, also from a library that put itself there."""
    if watching() and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    global _terminated
    if os.getpid() != _watcher:  # a fork of it, which its parent tells to end
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        return
    _terminated = True
    os.kill(os.getpid(), signal.SIGUSR1)


def warned() -> bool:
    """Whether the warning has come."""
    return _came.is_set()


def terminated() -> bool:
    """Whether it was SIGTERM: a preemption, or somebody's cancel."""
    return _terminated


def pass_on() -> None:
    """Hand the warning on to this process's children: a scheduler may signal the parent alone."""

    def hand_on() -> None:
        _came.wait()
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGUSR1)

    if watching():
        threading.Thread(target=hand_on, name="requeue-children", daemon=True).start()


def _children() -> list[int]:
    """The processes that this one started and that still live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()  # state, parent, ...
            if int(fields[1]) == os.getpid():
                found.append(int(stat.parent.name))
    return found


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Leave the warning to the block; one that it did not act on is acted on when it ends well."""
    global _loops
    with _deciding:
        _loops += 1
    try:
        yield
    finally:
        with _deciding:
            _loops -= 1
    if warned():
        raise Requeued


@contextlib.contextmanager
def at_leaving(call: Callable[[], None]) -> Iterator[None]:
    """Call `call` where the warning ends the process inside the block: no `finally` is reached then."""
    _farewells.append(call)
    try:
        yield
    finally:
        _farewells.remove(call)


def _wait() -> None:
    signal.sigwait({signal.SIGUSR1})
    with _deciding:
        _came.set()
        if _loops:
            return
        for call in list(_farewells):
            with contextlib.suppress(OSError):
                call()
        with contextlib.suppress(OSError, ValueError):
            print("deeprob: the scheduler stops this job; it goes on from here later", file=sys.stderr)
            sys.stderr.flush()
            sys.stdout.flush()
        os._exit(LEAVE)
