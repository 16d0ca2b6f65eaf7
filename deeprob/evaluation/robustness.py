"""The headline metric of a run under graded corruptions of its test images, in robustness_<split>.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.table import Table

from deeprob.errors import InputError
from deeprob.evaluation.corruptions import CORRUPTIONS, NUM_SEVERITIES, corrupt
from deeprob.evaluation.opened import Opened, open_run
from deeprob.metrics.entries import entry
from deeprob.metrics.scores import Scores
from deeprob.metrics.statistics import bias_corrected
from deeprob.page.definitions import title
from deeprob.progress import steps
from deeprob.records import ROBUSTNESS, read_record
from deeprob.runs import Run
from deeprob.writing import write_json

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
    places: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Evaluate a run on every corruption and severity, and write robustness_<split>.json; returns it.

    Arguments as of `deeprob.evaluation.opened.open_run`. Each cell and the mean over all of them hold the
    task's headline metric with its 95 % interval over the independent units.
    """
    opened = open_run(run, split, checkpoint, allowed, progress=False, places=places)
    here, options, metric = opened.samples, opened.options, opened.task.headline
    if here.pixels is None:
        raise InputError("corruptions are of images, and these samples have none", where=run.path)
    samples, seed = int(options.bootstrap_samples), int(options.seed)

    def cell(scores: Scores) -> dict[str, Any]:
        found, i = scores.intervals(samples=samples, seed=seed), scores.names.index(metric)
        return entry(found.value[i], found.low[i], found.high[i], scores.counts[i])

    clean = _scores(opened, here)
    cells: dict[str, list[Scores]] = {name: [] for name in CORRUPTIONS}
    with steps("corruptions", len(CORRUPTIONS) * NUM_SEVERITIES, progress) as advance:
        for name, of_name in cells.items():
            for severity in range(1, NUM_SEVERITIES + 1):
                images = corrupt(here.pixels.cpu().numpy(), name, severity, seed)
                of_name.append(_scores(opened, replace(here, images=torch.from_numpy(images))))
                advance()
    results = {
        "schema": SCHEMA,
        "split": opened.name,
        "checkpoint": opened.checkpoint,
        "metric": metric,
        "clean": cell(clean),
        "corruptions": {name: [cell(scores) for scores in of_name] for name, of_name in cells.items()},
        "mean": _mean([scores for of_name in cells.values() for scores in of_name], metric, samples, seed),
    }
    write_json(path_of(run, opened.name), results)
    return results


def _scores(opened: Opened, samples: Any) -> Scores:
    meter = opened.task.meter(samples)
    for batch, predictions in opened(samples, ""):
        meter.update(predictions, opened.task.truths(samples, batch))
    return meter.scores()


def _mean(cells: list[Scores], metric: str, samples: int, seed: int) -> dict[str, Any]:
    """The mean of a metric over cells of the same units, resampled together."""
    i = cells[0].names.index(metric)
    value = np.array([np.mean([scores.value[i] for scores in cells])])
    if cells[0].num_units < 2:
        return entry(value[0], np.nan, np.nan, cells[0].counts[i])
    drawn = np.mean([scores.resampled(samples, seed)[:, i] for scores in cells], axis=0)
    low, high = bias_corrected(value, drawn[:, None])
    return entry(value[0], low[0], high[0], cells[0].counts[i])


def read_robustness(run: Run, split: str) -> dict[str, Any] | None:
    """Read what `evaluate_robustness` wrote, None where there is none. Raises InputError for broken JSON."""
    path = path_of(run, split)
    if not path.is_file():
        return None
    fix = f"run: deeprob evaluate {run.argument} split={split} robustness=true"
    return read_record(path, ROBUSTNESS, fix)


def table(results: Mapping[str, Any]) -> Table:
    """The results for a terminal: a row a corruption, a column a severity, 0 for the images as they are."""
    heading = f"{title(results['metric'])} under corruption"
    shown = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD)
    shown.add_column("severity", no_wrap=True)
    for severity in range(NUM_SEVERITIES + 1):
        shown.add_column(str(severity), justify="right")
    for name, entries in results["corruptions"].items():
        values = [results["clean"]["value"], *(entry["value"] for entry in entries)]
        shown.add_row(name, *(f"{value:.3f}" for value in values))
    shown.caption = f"mean over all corruptions and severities {results['mean']['value']:.3f}"
    return shown
