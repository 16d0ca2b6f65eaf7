"""Rendering in many processes: each makes one Generator and works through jobs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from deeprob.errors import InputError
from deeprob.sim.generator import Generator
from deeprob.sim.settings import SimSettings

Job = TypeVar("Job")
_generator: Generator | InputError | None = None  # one per rendering process, or why it cannot be made


def run_jobs(
    settings: SimSettings, work: Callable[[Generator, Job], Any], jobs: Sequence[Job], workers: int
) -> Iterator[Job]:
    """Do `work(generator, job)` for every job in so many processes, 0: in this one; yield each when done.

    `work` must be importable, jobs picklable. Raises what a job raises, and InputError where a process is
    killed.
    """
    if not jobs:
        return
    if workers == 0:
        generator = Generator(settings)
        for job in jobs:
            work(generator, job)
            yield job
        return
    context = multiprocessing.get_context("spawn")  # safe beside torch's threads and PyBullet's state
    with ProcessPoolExecutor(min(workers, len(jobs)), context, _start, (settings,)) as pool:
        of_job = {pool.submit(_do, work, job): job for job in jobs}
        pending = set(of_job)
        try:
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    yield of_job[future]
        except BrokenProcessPool:
            raise InputError(
                "a rendering process was killed, probably for lack of memory",
                fix="use fewer workers; what was rendered is kept",
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start(settings: SimSettings) -> None:
    global _generator
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    try:
        _generator = Generator(settings)
    except InputError as error:  # told by the first job: what an initialiser raises only breaks the pool
        _generator = error


def _end_with_parent() -> None:
    """End this process when its parent is gone: the queue of jobs would wait for ever after a kill."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(work: Callable[[Generator, Any], Any], job: Any) -> None:
    if isinstance(_generator, InputError):
        raise _generator
    assert _generator is not None
    work(_generator, job)
