"""Accuracy of a run under graded corruptions of its test images, in robustness_<split>.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
import torch
from rich import box
from rich.progress import Progress
from rich.table import Table

from deeprob.errors import InputError
from deeprob.evaluation.corruptions import CORRUPTIONS, NUM_SEVERITIES, corrupt
from deeprob.evaluation.evaluate import unit_sums
from deeprob.evaluation.metrics.classification import Floats, metrics_of_sums, softmax
from deeprob.evaluation.opened import open_run
from deeprob.evaluation.statistics import Statistic, bootstrap
from deeprob.records import ROBUSTNESS, read_record
from deeprob.runs import Run, write_json

if TYPE_CHECKING:
    from deeprob.data.crops import Split
    from deeprob.training.restore import Experiment

SCHEMA = 1


def path_of(run: Run, split: str) -> Path:
    """Where the results lie."""
    return run.path / f"robustness_{split}.json"


def evaluate_robustness(
    run: Run,
    split: str | None = None,
    checkpoint: str | None = None,
    progress: bool = True,
    allowed: list[str] | None = None,
) -> dict[str, Any]:
    """Evaluate a run on every corruption and severity, and write robustness_<split>.json; returns it.

    Arguments as of `deeprob.evaluation.opened.open_run`. Each cell and the mean over all of them hold
    top-1 accuracy with its 95 % interval over the independent units.
    """
    opened = open_run(run, split, checkpoint, allowed)
    experiment, judged_by, here = opened.experiment, opened.judged_by, opened.samples
    if not hasattr(here, "images"):
        raise InputError("corruptions are of images, and these samples are clouds of points", where=run.path)

    def entry(sums: scipy.sparse.csr_array, statistic: Statistic) -> dict[str, Any]:
        found = bootstrap(sums, statistic, samples=judged_by.bootstrap_samples, seed=judged_by.seed)
        ends = [float(found.low[0]), float(found.high[0])]
        return {
            "value": float(found.value[0]),
            "ci95": ends if np.isfinite(ends).all() else None,
            "n": len(here),
        }

    clean = _sums(experiment, here)
    cells: dict[str, list[scipy.sparse.csr_array]] = {name: [] for name in CORRUPTIONS}
    with Progress(transient=True, disable=not progress) as bar:
        task = bar.add_task("corruptions", total=len(CORRUPTIONS) * NUM_SEVERITIES)
        for name, of_name in cells.items():
            for severity in range(1, NUM_SEVERITIES + 1):
                images = corrupt(here.images.cpu().numpy(), name, severity, judged_by.seed)
                of_name.append(_sums(experiment, replace(here, images=torch.from_numpy(images))))
                bar.advance(task)
    everything = scipy.sparse.csr_array(
        scipy.sparse.hstack([sums for of_name in cells.values() for sums in of_name], format="csr")
    )

    def mean_accuracy(sums: Floats) -> Floats:
        of_cells = sums.reshape(*sums.shape[:-1], -1, clean.shape[1])
        return np.asarray(_accuracy(of_cells).mean(axis=-2))

    results = {
        "schema": SCHEMA,
        "split": opened.name,
        "checkpoint": opened.checkpoint,
        "metric": "top1_accuracy",
        "clean": entry(clean, _accuracy),
        "corruptions": {
            name: [entry(sums, _accuracy) for sums in of_name] for name, of_name in cells.items()
        },
        "mean": entry(everything, mean_accuracy),
    }
    write_json(path_of(run, opened.name), results)
    return results


def read_robustness(run: Run, split: str) -> dict[str, Any] | None:
    """Read what `evaluate_robustness` wrote, None where there is none. Raises InputError for broken JSON."""
    path = path_of(run, split)
    if not path.is_file():
        return None
    fix = f"run: deeprob evaluate {run.argument} split={split} robustness=true"
    return read_record(path, ROBUSTNESS, fix)


def table(results: Mapping[str, Any]) -> Table:
    """The results for a terminal: a row a corruption, a column a severity, 0 for the images as they are."""
    shown = Table(title="top-1 accuracy under corruption", title_justify="left", box=box.SIMPLE_HEAD)
    shown.add_column("severity", no_wrap=True)
    for severity in range(NUM_SEVERITIES + 1):
        shown.add_column(str(severity), justify="right")
    for name, entries in results["corruptions"].items():
        values = [results["clean"]["value"], *(entry["value"] for entry in entries)]
        shown.add_row(name, *(f"{value:.3f}" for value in values))
    shown.caption = f"mean over all corruptions and severities {results['mean']['value']:.3f}"
    return shown


def _sums(experiment: Experiment, split: Split) -> scipy.sparse.csr_array:
    loader = experiment.data.loader_of(split)
    probabilities = softmax(experiment.predict_batches(loader, "", progress=False))
    return unit_sums(probabilities, split.labels.cpu().numpy(), split.units.cpu().numpy())


def _accuracy(sums: Floats) -> Floats:
    return metrics_of_sums(sums)[..., :1]
