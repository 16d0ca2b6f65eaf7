"""The scheduler's warning that a job is about to be stopped (SIGUSR1): never lost, never taken in mid-step.

The signal is blocked in every thread and every child from the process's first line, and one thread waits for
it. Outside the training loop (imports, rendering, evaluation) nothing has to be saved: every file is written
whole and finished work is not repeated, so the process leaves at once with exit code LEAVE, and the job
script puts the job back into the queue. Inside the loop `requeue.py` asks between two steps whether it came.

Without the blocking the signal kills a process that still imports, stops a rendering process, or saves a
checkpoint in the middle of an optimiser's step.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

LEAVE = 75  # EX_TEMPFAIL of sysexits.h: try again
_came = threading.Event()
_deciding = threading.Lock()
_loops = 0  # training loops that will act on the warning themselves


class Requeued(SystemExit):
    """The process leaves with what is needed to go on already on disk."""

    def __init__(self) -> None:
        super().__init__(LEAVE)


def watch() -> None:
    """Wait for the warning from here on, where a scheduler runs this process; elsewhere do nothing.

    To be called once, in the main thread, before anything starts another thread.
    """
    if "SLURM_JOB_ID" not in os.environ:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    threading.Thread(target=_wait, name="requeue-signal", daemon=True).start()


def warned() -> bool:
    """Whether the warning has come."""
    return _came.is_set()


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


def _wait() -> None:
    signal.sigwait({signal.SIGUSR1})
    with _deciding:
        _came.set()
        if _loops:
            return
        with contextlib.suppress(OSError, ValueError):
            print("deeprob: the scheduler stops this job; it goes on from here later", file=sys.stderr)
            sys.stderr.flush()
            sys.stdout.flush()
        os._exit(LEAVE)
