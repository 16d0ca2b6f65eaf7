"""A run folder opened for evaluation: its model and task, and the samples to evaluate on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from deeprob.data.batches.samples import Samples
from deeprob.data.known import KnownSource
from deeprob.errors import InputError
from deeprob.progress import Advance, steps
from deeprob.runs import Run
from deeprob.tasks.base import Task
from deeprob.training.experiment import Experiment, load, make_task, read_config
from deeprob.training.inference import for_inference
from deeprob.training.sources import make_data


@dataclass(frozen=True)
class Opened:
    """A run ready for evaluation.

    task: on the data it is evaluated on. name: of that, a split of the run's own data, or
    `<data set>-<split>` of another; samples: those of the split, their labels counted as the run's classes
    are. source, real, sizes: of the data. notes: what a reader of the results is told of this.
    """

    experiment: Experiment
    model: nn.Module
    task: Task
    options: DictConfig
    checkpoint: str
    name: str
    samples: Any
    source: str
    real: bool
    sizes: Mapping[str, int]
    progress: bool = True
    notes: tuple[str, ...] = ()

    def __call__(self, samples: Samples, heading: str) -> Iterator[tuple[Any, Any]]:
        """Predict: see deeprob.tasks.base.Predict."""
        return replace(self.experiment, task=self.task).predict(samples, heading, self.progress)

    def status(self, heading: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Show what is done meanwhile: see deeprob.progress."""
        return steps(heading, total, self.progress)


def open_run(
    run: Run,
    split: str | None = None,
    checkpoint: str | None = None,
    allowed: list[str] | None = None,
    other: DictConfig | None = None,
    progress: bool = True,
    places: Mapping[str, str] | None = None,
) -> Opened:
    """Open a run folder to evaluate it.

    split, checkpoint: None takes what the run's config says. allowed: further packages its config may call.
    other: a data config to evaluate it on in place of its own. places: as of `load`. Raises InputError where
    the folder, the split or the checkpoint is not there, or the split is empty.
    """
    if other is not None:
        return _on_other_data(run, checkpoint, allowed, split, other, progress, places)
    experiment = for_inference(load(run, checkpoint, allowed, places=places))
    data, options = experiment.data, experiment.cfg.evaluation
    split, checkpoint = split or str(options.split), checkpoint or str(options.checkpoint)
    samples = data.split(split)
    if len(samples) == 0:
        raise InputError(
            f"split {split!r} has no samples", where=run.path, expected=f"one of {dict(data.sizes)}"
        )
    facts = data.source_name, bool(data.real), data.sizes
    return Opened(
        experiment, experiment.model, experiment.task, options, checkpoint, split, samples, *facts, progress
    )


def _on_other_data(
    run: Run,
    checkpoint: str | None,
    allowed: list[str] | None,
    split: str | None,
    other: DictConfig,
    progress: bool,
    places: Mapping[str, str] | None,
) -> Opened:
    """The same model on another data set of its classes, seen through the run's own view.

    The data that it was trained on are for baselines alone, which are left out where these are not at hand.
    """
    own = read_config(run)
    for key, place in (places or {}).items():
        OmegaConf.update(own, key, place)
    cfg = own.copy()
    OmegaConf.set_struct(cfg, False)
    cfg.data = other
    cfg.data.view = own.data.view
    cfg.allowed_targets = sorted({*cfg.allowed_targets, *(allowed or [])})
    there = make_data(cfg)
    options = cfg.evaluation
    split, checkpoint = split or str(options.split), checkpoint or str(options.checkpoint)
    there.split(split)  # what was asked for by name is refused before what was not
    notes: tuple[str, ...] = ()
    try:
        experiment = load(run, checkpoint, allowed, places=places)
    except InputError as error:
        experiment = load(run, checkpoint, allowed, with_data=False, places=places)
        if not isinstance(experiment.data.source, KnownSource):
            raise
        notes = (f"Baselines that learn are left out, the run's own data are not at hand: {error}.",)
    experiment = for_inference(experiment)
    samples = there.split(split)
    classes = list(experiment.data.classes)
    unknown = sorted(set(there.classes) - set(classes))
    if unknown:
        raise InputError(
            f"classes that the model does not know: {', '.join(unknown)}",
            where=there.source_name,
            expected=", ".join(classes),
            fix="rename or leave them out: '+data.label_map={theirs: ours, other: null}'",
        )
    adopted = experiment.task.adopted(samples, there)
    if adopted is not None:
        task, samples = experiment.task, adopted
    else:
        if list(there.classes) != classes:  # counted as the model counts them
            there = make_data(cfg, classes=experiment.data.source.classes)
            samples = there.split(split)
        task = make_task(cfg, there)
        task.trained = experiment.data
    name = f"{there.source_name}-{split}"
    facts = there.source_name, bool(there.real), {name: len(samples)}
    return Opened(
        *(experiment, experiment.model, task, options, checkpoint, name, samples, *facts, progress, notes)
    )
