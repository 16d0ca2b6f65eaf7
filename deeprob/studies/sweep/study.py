"""A study in a folder that any number of processes, on any number of machines, work on together.

    <runs>/sweeps/<name>/
        journal.log                 optuna's journal: every trial with its parameters and values
        workers/<host>-<pid>-<id>   one file for each process at work: locked, and touched every few seconds
        trial-0007[-fold1]/         run folders

A process that dies loses nothing but its time: the next one that looks for work finds the trial running
without a living worker, marks it failed and asks for the same parameters again, in the same run folder, where
training goes on from its last checkpoint. A worker that leaves in good order (Ctrl-C, a requeue) takes its
file away; one that was killed leaves it. Looking for work is done by one process at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.studies.sweep.journal import backend, check, mend
from deeprob.studies.sweep.sampling import pruner_of, sampler_of
from deeprob.studies.sweep.space import grid
from deeprob.training import signals

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0  # a worker on another machine is dead when it was silent for so long
MOST_TRIES = 3  # a trial whose workers were killed so often, without a checkpoint between, counts as failed


class Worker:
    """The process as others see it, while the context lasts: a file that it holds locked and touches."""

    def __init__(self, folder: Path) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.path = folder / "workers" / self.name

    def __enter__(self) -> Worker:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "w", encoding="utf-8")
        with contextlib.suppress(OSError):  # a file system without locks: the heartbeat alone must do
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._leaving = signals.at_leaving(lambda: self.path.unlink(missing_ok=True))
        self._leaving.__enter__()
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._beating.join()
        self._leaving.__exit__(None, None, None)
        self.path.unlink(missing_ok=True)
        self._file.close()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # a full quota must not end the trial
                os.utime(self.path)

    def sees_alive(self, name: str | None) -> bool:
        """Whether the worker `name` still works on its trial."""
        if name is None:
            return False
        path = self.path.with_name(name)
        try:
            if name.rpartition("-")[0].rpartition("-")[0] == socket.gethostname() and _unlocked(path):
                return False
            # Both times are the file server's: clocks that differ between machines do not matter.
            return path.stat().st_mtime > self.path.stat().st_mtime - STALE_SECONDS
        except FileNotFoundError:
            return False


def _unlocked(path: Path) -> bool:
    """Whether no living process of this machine holds the file."""
    with open(path, encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


class SharedStudy:
    """The study of a sweep.

    definition: what the sweep is; a folder that holds another one is refused with InputError.
    limit: trials in all; None takes every point of a grid, else 20.
    """

    def __init__(
        self,
        folder: Path,
        definition: Mapping[str, Any],
        space: Mapping[str, BaseDistribution],
        *,
        sampler: str,
        pruner: str,
        warmup: int,
        mode: str,
        limit: int | None,
        seed: int,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.space, self.sampler, self.seed = folder, space, sampler, seed
        points = grid(space) if sampler == "grid" else []
        self.limit = limit if limit is not None else len(points) or 20
        folder.mkdir(parents=True, exist_ok=True)
        journal = folder / "journal.log"
        mend(journal)
        storage = optuna.storages.JournalStorage(backend(journal))
        directions = optuna.study.StudyDirection
        with self._alone():
            self.optuna = optuna.create_study(
                storage=storage,
                study_name=folder.name,
                direction=directions.MAXIMIZE if mode == "max" else directions.MINIMIZE,
                pruner=pruner_of(pruner, warmup),
                load_if_exists=True,
            )
            self._agree(dict(definition))
            if not self.optuna.get_trials(deepcopy=False):
                for point in points[: self.limit]:
                    self.optuna.enqueue_trial(point)

    @property
    def best(self) -> FrozenTrial | None:
        """The best complete trial, None before the first."""
        complete = [t for t in self.ended() if t.state.name == "COMPLETE"]
        sign = -1.0 if self.optuna.direction.name == "MINIMIZE" else 1.0
        return max(complete, key=lambda t: sign * float(t.value or 0), default=None)

    def ended(self) -> list[FrozenTrial]:
        """Every trial that came to an end of its own: complete, pruned or failed, and not asked again."""
        return [t for t in self._counted() if t.state.is_finished()]

    @property
    def finished(self) -> bool:
        return len(self.ended()) >= self.limit

    def claim(self, worker: Worker) -> Trial | None:
        """Take a trial to run; None where all are taken. What dead workers left is taken first."""
        with self._alone():
            self._ask_again_what_died(worker)
            if len([t for t in self._counted() if t.state.name != "WAITING"]) >= self.limit:
                return None
            # Not of all trials: those that are asked again would shift the seeds of the later ones.
            self.optuna.sampler = sampler_of(self.sampler, self.seed, len(self._counted()))
            trial = self.optuna.ask(dict(self.space))
            trial.set_user_attr("worker", worker.name)
            return trial

    def tell(self, trial: Trial, value: float | None, state: str, **told: Any) -> None:
        """Record how a trial ended: state `complete`, `pruned` or `fail`; told: kept beside it."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        with contextlib.suppress(UpdateFinishedTrialError):  # taken for dead meanwhile, and asked again
            for name, what in told.items():
                trial.set_user_attr(name, what)
            self.optuna.tell(
                trial,
                value if state == "complete" else None,
                TrialState[state.upper()],
                skip_if_finished=True,
            )

    def _counted(self) -> list[FrozenTrial]:
        return counted(self.optuna.get_trials(deepcopy=False))

    def _ask_again_what_died(self, worker: Worker) -> None:
        """Fail the trials of workers that are gone and queue their parameters, also where that was cut off.

        A trial is given up after MOST_TRIES deaths in which it came no further. A worker that left in good
        order did not die.
        """
        from optuna.trial import TrialState

        for t in self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            name = t.user_attrs.get("worker")
            if not worker.sees_alive(name):
                path = worker.path.with_name(str(name))
                reached = self._reached(t)
                killed = path.exists() and reached <= int(t.user_attrs.get("reached", 0))
                for key, value in (("reached", reached), ("killed", killed), ("died", True)):
                    self.optuna._storage.set_trial_user_attr(t._trial_id, key, value)
                self.optuna.tell(t.number, state=TrialState.FAIL, skip_if_finished=True)
                path.unlink(missing_ok=True)
        trials = self.optuna.get_trials(deepcopy=False)
        again = {t.user_attrs.get("again_for") for t in trials}
        for t in trials:
            if t.state.name != "FAIL" or "died" not in t.user_attrs or t.number in again:
                continue
            tries = int(t.user_attrs.get("tries", 1)) + bool(t.user_attrs.get("killed", True))
            if tries <= MOST_TRIES:
                kept = {"again_for": t.number, "tries": tries, "folder": folder_name(t)}
                kept["reached"] = t.user_attrs.get("reached", 0)
                self.optuna.enqueue_trial(dict(t.params), user_attrs=kept)

    def _reached(self, trial: FrozenTrial) -> int:
        """When a trial last saved a checkpoint, in nanoseconds of the file server's clock; 0 for never."""
        found = [0]
        name = folder_name(trial)
        for folder in (self.folder / name, *self.folder.glob(f"{name}-fold*")):
            run = Run(folder)
            for path in (run.checkpoint("last"), *run.requeue_checkpoints):
                with contextlib.suppress(FileNotFoundError):
                    found.append(path.stat().st_mtime_ns)
        return max(found)

    def _agree(self, definition: dict[str, Any]) -> None:
        before = self.optuna.user_attrs.get("definition")
        if before is None:
            self.optuna.set_user_attr("definition", definition)
        elif before != json.loads(json.dumps(definition)):
            differing = sorted(k for k in definition if definition[k] != before.get(k))
            raise InputError(
                f"the sweep there has another {', '.join(differing)}",
                where=self.folder,
                fix="give this one a name of its own: sweep.name=...",
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time, on all machines; a lock left by a dead one is broken after 30 s."""
        from optuna.storages.journal import JournalFileOpenLock

        lock = JournalFileOpenLock(str(self.folder / "claim"))
        lock.acquire()
        try:
            yield
        finally:
            lock.release()


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """All trials but those of dead workers that were asked again."""
    again = {t.user_attrs.get("again_for") for t in trials}
    return [t for t in trials if not (t.state.name == "FAIL" and t.number in again)]


def peek(folder: Path) -> tuple[optuna.Study, list[FrozenTrial]] | None:
    """A study and the trials that ended, looked at from outside; None where there is none yet."""
    import optuna

    journal = folder / "journal.log"
    if not journal.is_file():
        return None
    check(journal)
    try:
        study = optuna.load_study(
            study_name=folder.name, storage=optuna.storages.JournalStorage(backend(journal))
        )
    except KeyError:  # its first line is still to be written
        return None
    return study, [t for t in counted(study.get_trials(deepcopy=False)) if t.state.is_finished()]


def folder_name(trial: Trial | FrozenTrial) -> str:
    """The run folder of a trial: that of the one it is asked again for, where there is one."""
    return str(trial.user_attrs.get("folder", f"trial-{trial.number:04d}"))


def states(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """Count the trials of each state, in lower case."""
    counted: dict[str, int] = {}
    for trial in trials:
        counted[trial.state.name.lower()] = counted.get(trial.state.name.lower(), 0) + 1
    return counted
