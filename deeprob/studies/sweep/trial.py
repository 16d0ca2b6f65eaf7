"""One trial of a sweep: its config, its trainings in this process, and its value."""

from __future__ import annotations

import contextlib
import shutil
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from deeprob.config import CONFIG_DIR, compose, composed_with
from deeprob.errors import InputError
from deeprob.overrides import quoted, shell
from deeprob.runs import Run
from deeprob.studies.sweep.sampling import PRUNERS
from deeprob.studies.sweep.space import SAMPLERS, distributions, grid, overrides_of
from deeprob.studies.sweep.study import SharedStudy, Worker, folder_name
from deeprob.training.experiment import monitor_of
from deeprob.writing import write_text

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

OUTPUT = "output.txt"  # what training printed, in the trial's run folder
MOST_FAILURES = 3  # so many failures before the first success end the sweep


@dataclass(frozen=True)
class Plan:
    """A sweep as it will be run. judged_by: `best` or `last` epoch; limit: trials in all."""

    cfg: DictConfig
    folder: Path
    space: dict[str, BaseDistribution]
    metric: str
    mode: str
    judged_by: str
    limit: int

    @property
    def name(self) -> str:
        return str(self.cfg.sweep.name)

    @property
    def folds(self) -> int:
        return int(self.cfg.sweep.folds)

    def overrides(self, params: dict[str, Any], fold: int = 0) -> list[str]:
        """What `deeprob train` is told for a point of the space."""
        sweep = self.cfg.sweep
        folds = [f"data.num_folds={self.folds}", f"data.fold={fold}"] if self.folds else []
        fixed = [f"experiment={sweep.experiment}", *sweep.overrides, *sweep.trial_overrides]
        return [*fixed, *overrides_of(params), *folds]

    def config(self, params: dict[str, Any], fold: int = 0) -> DictConfig:
        """The config of a training for a point of the space."""
        paths = [f"paths.{key}={quoted(value)}" for key, value in self.cfg.paths.items()]
        return composed_with("train", [*self.overrides({}, fold), *paths], overrides_of(params))

    def study(self) -> SharedStudy:
        """Open the study in the folder, or make it."""
        sweep = self.cfg.sweep
        kept = ("experiment", "overrides", "trial_overrides", "space", "folds", "sampler", "seed")
        values = OmegaConf.to_container(sweep)
        assert isinstance(values, dict)
        definition = {key: values[key] for key in kept} | {"metric": self.metric}
        return SharedStudy(
            self.folder,
            definition,
            self.space,
            sampler=sweep.sampler,
            pruner=sweep.pruner,
            warmup=sweep.warmup,
            mode=self.mode,
            limit=self.limit,
            seed=sweep.seed,
        )


def plan(cfg: DictConfig) -> Plan:
    """Check the root config of `deeprob sweep`: every key of the space must be one of the experiment's.

    Raises InputError for a key that is none, for an unknown sampler or pruner, for a range in a grid.
    """
    sweep = cfg.sweep
    for key, value, valid in (("sampler", sweep.sampler, SAMPLERS), ("pruner", sweep.pruner, PRUNERS)):
        if value not in valid:
            raise InputError(f"no {key} {value!r}", where=f"sweep.{key}", expected=", ".join(valid))
    for key, least in (("folds", 0), ("warmup", 0), ("trials", 1)):
        if sweep[key] is not None and sweep[key] < least:
            raise InputError(f"sweep.{key} is {sweep[key]}", expected=f"{least} or more")
    space = distributions(OmegaConf.to_container(sweep.space))  # type: ignore[arg-type]
    points = len(grid(space)) if sweep.sampler == "grid" else None
    limit = min(sweep.trials or points, points) if points else sweep.trials or 20
    folder = Path(cfg.paths.runs_dir) / "sweeps" / sweep.name
    first = {key: getattr(d, "choices", [getattr(d, "low", None)])[0] for key, d in space.items()}
    planned = Plan(cfg, folder, space, "", "", "", limit)
    try:
        one = compose("train", planned.overrides(first))
    except InputError as error:
        raise InputError(str(error), where=f"sweep {sweep.name}") from error
    experiment_of(sweep.experiment, sweep.name, [*sweep.overrides, *overrides_of(first)])
    judged_by = str(one.evaluation.checkpoint)
    return Plan(cfg, folder, space, monitor_of(one), str(one.trainer.mode), judged_by, limit)


def run_trial(planned: Plan, study: SharedStudy, trial: Trial) -> str:
    """Train what the trial asks for and record how it ended; returns that in one line.

    Raises KeyboardInterrupt, leaving the trial to whoever goes on with the sweep, and InputError where no
    trial has worked yet and this one's error is the user's.
    """
    values: list[float] = []
    try:
        for fold in range(max(planned.folds, 1)):
            values.append(_train(planned, trial, fold, values))
    except _Pruned as pruned:
        study.tell(trial, None, "pruned", epoch=pruned.epoch)
        return f"{_named(trial)}  pruned after {pruned.epoch + 1} epochs"
    except Exception as error:
        line = " ".join(str(error).split()) or type(error).__name__
        write_text(planned.folder / folder_name(trial) / "error.txt", traceback.format_exc())
        study.tell(trial, None, "fail", error=line)
        if study.best is None and (isinstance(error, InputError) or _failures(study) >= MOST_FAILURES):
            raise InputError(line, where=f"trial {trial.number}", fix=f"see {planned.folder}") from error
        return f"{_named(trial)}  failed: {line}"
    value = float(np.mean(values))
    study.tell(trial, value, "complete", folds=values)
    return f"{_named(trial)}  {planned.metric} {value:.4f}"


def work(planned: Plan, study: SharedStudy, worker: Worker) -> str | None:
    """Take one trial and run it; returns how it ended, None where none is left to take."""
    trial = study.claim(worker)
    if trial is None:
        return None
    line = run_trial(planned, study, trial)
    best = study.best
    if best is not None:
        write_best(planned, best)
        _keep_checkpoints_of(planned, study, best)
    return line


def write_best(planned: Plan, best: FrozenTrial) -> Path:
    """Write the best trial's settings as an experiment, <folder>/<name>_best.yaml; returns its path."""
    sweep = planned.cfg.sweep
    path = planned.folder / f"{planned.name}_best.yaml"
    kept = [*sweep.overrides, *overrides_of(best.params)]
    text = [
        "# @package _global_",
        f"# deeprob train {shell('experiment', path)}",
        f"# The best of {planned.limit} trials of sweep {planned.name}: trial {best.number}, "
        f"{planned.metric} {best.value:.4f}{f', mean of {planned.folds} folds' if planned.folds else ''}.",
        *([f"# In the sweep also: {' '.join(sweep.trial_overrides)}"] if sweep.trial_overrides else []),
        OmegaConf.to_yaml(experiment_of(sweep.experiment, f"{planned.name}_best", kept)),
    ]
    write_text(path, "\n".join(text))
    return path


def experiment_of(base: str, name: str, overrides: Sequence[str]) -> DictConfig:
    """An experiment that is `base` with overrides: choices of groups go into its defaults, values below.

    Raises InputError for an override that deletes a key.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    choices: list[Any] = []
    content = OmegaConf.create({"name": name})
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, value = override.key_or_group, override.value()
        if override.is_delete():
            raise InputError(
                f"{override.input_line} deletes a key, which an experiment cannot",
                where="sweep.overrides",
                fix="give it as one of sweep.trial_overrides",
            )
        if isinstance(value, str) and (CONFIG_DIR / key).is_dir():
            choices.append({f"override /{key}": value})
        else:
            OmegaConf.update(content, key, value, merge=True, force_add=True)
    whole = OmegaConf.merge({"defaults": [f"/experiment/{base}", *choices, "_self_"]}, content)
    assert isinstance(whole, DictConfig)
    return whole


class _Pruned(Exception):  # noqa: N818  it is no error
    def __init__(self, epoch: int) -> None:
        super().__init__(f"pruned after epoch {epoch}")
        self.epoch = epoch


def _train(planned: Plan, trial: Trial, fold: int, before: Sequence[float]) -> float:
    """Train one fold; returns its value. Raises _Pruned where the pruner ended it."""
    from deeprob.studies.sweep.watch import Watch
    from deeprob.training.run import train_run

    overrides = planned.overrides(trial.params, fold)
    cfg = planned.config(trial.params, fold)
    name = folder_name(trial) + (f"-fold{fold}" if planned.folds else "")
    run = Run(planned.folder / name)
    run.path.mkdir(parents=True, exist_ok=True)
    watch = Watch(trial, planned.metric, before, first_step=fold * int(cfg.trainer.max_epochs))
    with open(run.path / OUTPUT, "a", encoding="utf-8") as output, contextlib.redirect_stdout(output):
        train_run(cfg, run, overrides, [watch])
    if watch.pruned_at is not None:
        raise _Pruned(watch.pruned_at)
    return value_of(run, planned.metric, planned.mode, planned.judged_by)


def value_of(run: Run, metric: str, mode: str, judged_by: str) -> float:
    """What a run reached: the metric at its best epoch or its last. Raises InputError where it has none."""
    rows = run.read_metrics()
    found = [row[metric] for row in rows if row.get(metric) is not None]
    if not found:
        streamed = sorted({key for row in rows for key in row if key.startswith("val/")})
        raise InputError(
            f"no metric {metric!r}", where=run.metrics, expected=", ".join(streamed) or "val/..."
        )
    if judged_by == "last":
        return float(found[-1])
    return float(max(found) if mode == "max" else min(found))


def _keep_checkpoints_of(planned: Plan, study: SharedStudy, best: FrozenTrial) -> None:
    """Delete the checkpoints of finished trials but the best: hundreds of networks fill a disk."""
    finished = {folder_name(trial) for trial in study.ended()} - {folder_name(best)}
    for folder in planned.folder.glob("trial-*/checkpoints"):
        if folder.parent.name.partition("-fold")[0] in finished:
            shutil.rmtree(folder, ignore_errors=True)


def _failures(study: SharedStudy) -> int:
    return sum(t.state.name == "FAIL" for t in study.ended())


def _named(trial: Trial) -> str:
    return f"trial {trial.number}  {' '.join(overrides_of(trial.params))}"
