"""What a submitted verb has to run: its overrides expanded into tasks, checked before anything is queued."""

from __future__ import annotations

import copy
import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from deeprob.config import compose, composed, set_value
from deeprob.errors import InputError
from deeprob.overrides import plain, quote
from deeprob.runs import Run

VERBS = ("train", "sweep", "ablate", "evaluate", "report", "render", "benchmark", "gradcheck")


@dataclass(frozen=True)
class Task:
    """One process of an array.

    label: what sets it apart. line: the shell command that it runs. run: the run folder that it writes, in
    which it goes on when it is started again; None where the verb keeps its own account of what is done.
    study, trials: of a sweep's worker, the folder that all workers share, and the trials in all.
    """

    label: str
    line: str
    run: str | None = None
    study: str | None = None
    trials: int | None = None


def make_tasks(verb: str, overrides: Sequence[str], job: str, workers: int = 1) -> list[Task]:
    """Make the tasks of `deeprob <verb> <overrides>`. job: the name that new run folders begin with.

    A value with commas (`seed=0,1,2`), range() and choice() make a task for each value, several of them every
    combination. An ablation becomes one training a task; a sweep so many `workers` on one study.
    Raises InputError for a verb that is not submitted, for overrides that the verb would refuse, and where
    nothing is left to run.
    """
    composed.cache_clear()  # of what was there when this job was made, and nothing older
    if verb not in VERBS:
        raise InputError(f"{verb!r} cannot be submitted", expected="one of " + " ".join(VERBS))
    if verb == "ablate":
        tasks = _ablation(overrides)
    elif verb == "sweep":
        tasks = _sweep(overrides, workers)
    else:
        axes = [_values(override) for override in overrides]
        _check(verb, axes)
        combinations = list(itertools.product(*axes))
        varied = [number for number, axis in enumerate(axes) if len(axis) > 1]
        tasks = [
            _task(verb, values, " ".join(values[number] for number in varied) or verb, f"{job}-{number}")
            for number, values in enumerate(combinations)
        ]
    if not tasks:
        raise InputError("nothing to run: the array would have no task", where=" ".join([verb, *overrides]))
    return tasks


def _values(override: str) -> list[str]:
    """The overrides that one of Hydra's sweep syntax stands for; any other stands for itself."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if override.startswith("-"):
        raise InputError(f"option {override}", expected="key=value: an array needs no -m")
    (override,) = quote([override])
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise InputError(str(error).splitlines()[0], where=override) from error
    if not parsed.is_sweep_override():
        return [override]
    return [f"{parsed.get_key_element()}={value}" for value in parsed.sweep_string_iterator()]


def first_values(overrides: Sequence[str]) -> list[str]:
    """The overrides of the first task."""
    return [_values(override)[0] for override in overrides]


def _check(verb: str, axes: Sequence[Sequence[str]]) -> None:
    """Check the first task, and each other value in it: not every combination, which would take minutes."""
    if any(not axis for axis in axes):
        return
    first = [axis[0] for axis in axes]
    cfg = check_overrides(verb, first)
    for number, axis in enumerate(axes):
        tried = copy.deepcopy(cfg) if len(axis) > 1 else None
        for value in axis[1:]:
            overrides = [*first[:number], value, *first[number + 1 :]]
            if tried is None or not set_value(tried, verb, overrides, value):
                check_overrides(verb, overrides)


def check_overrides(verb: str, overrides: Sequence[str]) -> DictConfig | None:
    """Raise InputError where `deeprob <verb> <overrides>` would refuse its overrides.

    Returns the config, to be read only, where the verb has one.
    """
    from deeprob.schema import SCHEMA
    from deeprob.sim.settings import RENDER_KEYS, long_override

    if verb == "train" and _run_folder(overrides):
        return None  # a run that goes on brings its own config
    if verb in SCHEMA["root"]:
        return composed(verb, tuple(overrides))
    if verb == "render":
        long = [long_override(o) for o in overrides if o.partition("=")[0] not in RENDER_KEYS]
        composed("train", ("name=render", "data=pybullet", *long))
    return None


def check_runs(overrides: Sequence[str]) -> None:
    """Raise InputError for a `run=` that is no run folder: better now than after hours in a queue."""
    for override in overrides:
        if override.startswith("run="):
            for value in _values(override):
                Run.find(plain(value))


def _run_folder(overrides: Sequence[str]) -> str | None:
    return next((plain(o) for o in overrides if o.startswith("run=")), None)


def _task(verb: str, overrides: Sequence[str], label: str, run_id: str) -> Task:
    line = shlex.join(["deeprob", verb, *overrides])
    if verb != "train":
        return Task(label, line)
    folder = _run_folder(overrides)
    if folder is not None:
        return Task(label, line, str(Path(folder).absolute()))
    deciding = tuple(o for o in overrides if o.startswith(("experiment=", "name=", "paths.")))
    cfg = composed("train", deciding)
    run = (Path(cfg.paths.runs_dir) / cfg.name / run_id).absolute()
    return Task(label, f"DEEPROB_RUN_ID={shlex.quote(run_id)} {line}", str(run))


def _ablation(overrides: Sequence[str]) -> list[Task]:
    """One training a variant and seed, of those that are not done; `deeprob ablate` then finds them done."""
    from deeprob.studies.ablation import plan

    tasks = []
    for job in plan(compose("ablate", overrides)).jobs.values():
        if not job.done:
            line = shlex.join(["deeprob", "train", *job.overrides])
            run = str(job.run.path.absolute())
            tasks.append(Task(job.label, f"DEEPROB_RUN_ID={shlex.quote(job.run.run_id)} {line}", run))
    return tasks


def _sweep(overrides: Sequence[str], workers: int) -> list[Task]:
    """Workers on one study; the first waits for the others and writes the report."""
    from deeprob.studies.sweep.trial import plan

    planned = plan(compose("sweep", overrides))
    line = shlex.join(["deeprob", "sweep", *overrides])
    study = str(planned.folder.absolute())
    return [
        Task(f"worker {n}", line if n == 0 else f"{line} worker=true", study=study, trials=planned.limit)
        for n in range(workers)
    ]
