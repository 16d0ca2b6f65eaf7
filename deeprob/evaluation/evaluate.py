"""Evaluation of a run from its folder alone: results.json and the predictions behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich import box
from rich.console import Console
from rich.table import Table

from deeprob.data.point_views import PartSplit
from deeprob.evaluation import baselines
from deeprob.evaluation.entries import as_differences, as_entry, as_metrics, ends, finite, interval_method
from deeprob.evaluation.learned import template_pictures
from deeprob.evaluation.metrics.classification import (
    Classification,
    Floats,
    Integers,
    class_metrics_of_sums,
    metric_names,
    metrics_of_sums,
    sample_sums,
    softmax,
)
from deeprob.evaluation.metrics.ranking import areas_of_classes
from deeprob.evaluation.opened import Opened, open_run
from deeprob.evaluation.parts import TASK as PART_SEGMENTATION
from deeprob.evaluation.parts import PartPredictions, evaluate_parts
from deeprob.evaluation.predictions import Predictions, most_telling, thumbnails
from deeprob.evaluation.slices import error_slices
from deeprob.evaluation.statistics import bootstrap, paired_difference, sums_by_unit
from deeprob.runs import Run, write_json

SCHEMA = 1
COST = ("parameters", "flops_per_sample", "train_seconds", "samples_per_second", "peak_memory_bytes")
PER_CLASS = ("precision", "recall", "f1")
AREAS = ("roc_auc", "average_precision")  # per class too, from the curves
RANKING_SAMPLES = 500  # resamples of a curve, each of which ranks every sample again


def evaluate_run(
    run: Run,
    split: str | None = None,
    checkpoint: str | None = None,
    progress: bool = True,
    allowed: list[str] | None = None,
    other: DictConfig | None = None,
) -> dict[str, Any]:
    """Evaluate a run and write results.json (results_<name>.json for a split not judged by, or other data).

    Arguments as of `open_run`. Returns what was written. Raises InputError as `open_run`.
    """
    opened = open_run(run, split, checkpoint, allowed, other)
    experiment, judged_by, here = opened.experiment, opened.judged_by, opened.samples
    data = experiment.data
    if isinstance(here, PartSplit):
        measured, parts = evaluate_parts(opened, progress)
        return _written(run, opened, PART_SEGMENTATION, measured, parts)
    console = Console(quiet=not progress)
    labels, units = here.labels.cpu().numpy(), here.units.cpu().numpy()
    loader = data.loader_of(here)
    logits = experiment.predict_batches(loader, f"evaluating {opened.name}", progress)
    train = data.split("train")
    of_baselines: dict[str, Floats] = {}
    for name in judged_by.baselines:
        with console.status(f"baseline {name}"):
            of_baselines[name] = baselines.predict(
                name,
                train.descriptors(),
                train.labels,
                here.descriptors(),
                num_classes=len(data.classes),
                neighbours=judged_by.neighbours,
            )
    shown = most_telling(softmax(logits), labels)
    pictures = thumbnails(here.pictures(torch.from_numpy(shown)))
    predictions = Predictions(
        logits,
        labels,
        units,
        list(here.keys),
        list(data.classes),
        of_baselines,
        pictures,
        shown,
        templates=template_pictures(experiment.model),
        groups=[here.group_names[i] for i in here.groups.tolist()],
        facts=getattr(here, "facts", torch.zeros(0, 3)).cpu().numpy(),
    )
    with console.status("intervals"):
        measured = measure(predictions, samples=judged_by.bootstrap_samples, seed=judged_by.seed)
    return _written(run, opened, "classification", measured, predictions)


def _written(
    run: Run, opened: Opened, task: str, measured: dict[str, Any], predictions: Predictions | PartPredictions
) -> dict[str, Any]:
    """Write results.json of the split, and the predictions; returns the results."""
    experiment = opened.experiment
    parameters = sum(p.numel() for p in experiment.model.parameters())
    results = {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "experiment": run.experiment,
        "task": task,
        "split": opened.name,
        "checkpoint": opened.checkpoint,
        "seed": int(experiment.cfg.seed),
        **measured,
        "cost": {**dict.fromkeys(COST), "parameters": parameters, **_training_cost(run)},
        "data": {
            "source": opened.source,
            "real": opened.real,
            **{name: int(size) for name, size in opened.sizes.items()},
        },
    }
    predictions.save(run, opened.name)
    write_json(run.results(None if opened.name == opened.judged_by.split else opened.name), results)
    return results


def measure(predictions: Predictions, *, samples: int, seed: int) -> dict[str, Any]:
    """Compute what follows from predictions: metrics, baselines, per class, confusion; NaN becomes None."""
    classes = list(predictions.classes)
    names = metric_names(len(classes))
    labels, units = predictions.labels, predictions.units
    sums = unit_sums(predictions.probabilities, labels, units)

    def class_metrics(total: Floats) -> Floats:
        values = class_metrics_of_sums(total)
        return values.reshape(*values.shape[:-2], -1)

    of_model = bootstrap(sums, metrics_of_sums, samples=samples, seed=seed)
    of_classes = bootstrap(sums, class_metrics, samples=samples, seed=seed)
    stream = Classification(len(classes))
    stream.update(predictions.probabilities, labels)
    support = stream.confusion.sum(axis=1)
    per_class: dict[str, dict[str, Any]] = {
        name: {"n": int(n)} for name, n in zip(classes, support, strict=True)
    }
    for i, metric in enumerate(PER_CLASS):
        for j, name in enumerate(classes):
            per_class[name][metric] = as_entry(of_classes, i * len(classes) + j, int(support[j]))
    areas = areas_of_classes(
        predictions.probabilities, labels, units, samples=min(samples, RANKING_SAMPLES), seed=seed
    )
    for j, name in enumerate(classes):
        for i, metric in enumerate(AREAS):
            value, low, high = (float(of[j, i]) for of in areas)
            if (
                low == high
            ):  # perfect in every resample: a bootstrap knows no spread, and 1 to 1 says too much
                low = high = float("nan")
            per_class[name][metric] = {
                "value": finite(value),
                "ci95": ends(low, high),
                "n": int(support[j]),
            }
    of_baselines, differences = {}, {}
    for name, probabilities in predictions.baselines.items():
        baseline_sums = unit_sums(probabilities.astype(np.float64), labels, units)
        intervals = bootstrap(baseline_sums, metrics_of_sums, samples=samples, seed=seed)
        of_baselines[name] = as_metrics(names, intervals, len(labels))
        differences[name] = paired_difference(
            sums, baseline_sums, metrics_of_sums, samples=samples, seed=seed
        )
    return {
        "metrics": as_metrics(names, of_model, len(labels)),
        "baselines": of_baselines,
        "differences": as_differences(names, differences),
        "per_class": per_class,
        "confusion": stream.confusion.tolist(),
        "slices": error_slices(predictions, samples=min(samples, RANKING_SAMPLES), seed=seed),
        "interval": interval_method(samples, int(sums.shape[0])),
    }


def unit_sums(probabilities: Floats, labels: Integers, units: NDArray[np.int64]) -> scipy.sparse.csr_array:
    """Sums (U, S) of each independent unit, as the metrics and the bootstrap take them."""
    return sums_by_unit(sample_sums(probabilities, labels), units)


def print_results(run: Run, console: Console) -> None:
    """Print results.json of a run as a table."""
    print_table(run.read_results(), console)


def print_table(results: Mapping[str, Any], console: Console) -> None:
    """Print results, each metric with its interval, the model beside the baselines."""
    of = results.get("predictions") or f"{results['experiment']}, {results['checkpoint']} checkpoint"
    heading = f"{of}, {results['split']} split"
    table = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("metric", no_wrap=True)
    table.add_column("model", justify="right", style="bold")
    table.add_column("95 % interval", justify="right")
    for name in results["baselines"]:
        table.add_column(name, justify="right", style="dim")
    table.add_column("n", justify="right")
    for metric, entry in results["metrics"].items():
        beside = [_shown(b[metric]["value"]) for b in results["baselines"].values()]
        low, high = entry["ci95"] or (None, None)
        table.add_row(
            metric, _shown(entry["value"]), f"{_shown(low)} .. {_shown(high)}", *beside, f"{entry['n']:,}"
        )
    console.print(table)


def _training_cost(run: Run) -> dict[str, Any]:
    """What training wrote down about its cost; nothing for a run that is still going or was stopped."""
    known = run.read_training()
    return {name: known[name] for name in COST if name in known}


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
