"""A run folder opened to be judged: its model, and the samples to judge it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf

from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.tasks.part_segmentation.view import PartSamples

if TYPE_CHECKING:
    from deeprob.training.restore import Experiment


@dataclass(frozen=True)
class Opened:
    """A run ready to be judged.

    name: of what it is judged on, a split of its own data, or `<data set>-<split>` of another; samples: those
    of the split, their labels counted as the run's classes are. source, real, sizes: of the data.
    """

    experiment: Experiment
    judged_by: DictConfig
    checkpoint: str
    name: str
    samples: Any
    source: str
    real: bool
    sizes: Mapping[str, int]


def open_run(
    run: Run,
    split: str | None = None,
    checkpoint: str | None = None,
    allowed: list[str] | None = None,
    other: DictConfig | None = None,
) -> Opened:
    """Open a run folder to judge it.

    split, checkpoint: None takes what the run's config says. allowed: further packages its config may call.
    other: a data config to judge it on in place of its own. Raises InputError where the folder, the split or
    the checkpoint is not there, or the split is empty.
    """
    from deeprob.training.restore import load, read_config

    judged_by = read_config(run).evaluation
    split, checkpoint = split or str(judged_by.split), checkpoint or str(judged_by.checkpoint)
    experiment = load(run, checkpoint, allowed)
    data = experiment.data
    if other is not None:
        return _on_other_data(experiment, judged_by, checkpoint, split, other)
    samples = data.split(split)
    if not hasattr(samples, "descriptors") and not isinstance(samples, PartSamples):
        raise InputError(
            "evaluation is of samples of one class each, or of clouds with parts",
            where=run.path,
            expected="crops or clouds of points",
        )
    if len(samples) == 0:
        raise InputError(
            f"split {split!r} has no samples", where=run.path, expected=f"one of {dict(data.sizes)}"
        )
    return Opened(
        experiment, judged_by, checkpoint, split, samples, data.source_name, bool(data.real), data.sizes
    )


def _on_other_data(
    experiment: Experiment, judged_by: DictConfig, checkpoint: str, split: str, other: DictConfig
) -> Opened:
    """The same model on another data set of its classes, seen through the run's own view."""
    from deeprob.training.trainer import make_data

    cfg = experiment.cfg.copy()
    OmegaConf.set_struct(cfg, False)
    cfg.data = other
    cfg.data.view = experiment.cfg.data.view
    there = make_data(cfg)
    samples = there.split(split)
    if isinstance(samples, PartSamples):
        raise InputError("parts are judged on the run's own data", where=there.source_name)
    classes = list(experiment.data.classes)
    unknown = sorted(set(there.classes) - set(classes))
    if unknown:
        raise InputError(
            f"classes that the model does not know: {', '.join(unknown)}",
            where=there.source_name,
            expected=", ".join(classes),
            fix="rename or leave them out: '+data.label_map={theirs: ours, other: null}'",
        )
    index = torch.tensor([classes.index(name) for name in there.classes])
    samples = replace(samples, labels=index[samples.labels])
    name = f"{there.source_name}-{split}"
    sizes = {name: len(samples)}
    return Opened(
        experiment, judged_by, checkpoint, name, samples, there.source_name, bool(there.real), sizes
    )
