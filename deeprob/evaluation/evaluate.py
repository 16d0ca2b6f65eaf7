"""Evaluation of a run from its folder alone: results.json and the predictions behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig
from rich import box
from rich.console import Console
from rich.table import Table

from deeprob.evaluation.opened import Opened, open_run
from deeprob.metrics.entries import measured
from deeprob.page.shown import write_shown
from deeprob.progress import print_whole
from deeprob.runs import Run
from deeprob.writing import write_json

SCHEMA = 1
COST = ("parameters", "flops_per_sample", "train_seconds", "samples_per_second", "peak_memory_bytes")


def evaluate_run(
    run: Run,
    split: str | None = None,
    checkpoint: str | None = None,
    progress: bool = True,
    allowed: list[str] | None = None,
    other: DictConfig | None = None,
    boxes: str | None = None,
    places: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Evaluate a run and write results.json, or results_<name>.json for another split, data or boxes.

    boxes: see EvaluationSettings; None takes the run's. Other arguments as of `open_run`. Returns what was
    written. Raises InputError as `open_run`.
    """
    opened = open_run(run, split, checkpoint, allowed, other, progress, places)
    task, options, of = opened.task, opened.options, opened.name
    if boxes not in (None, options.get("boxes", "gt")):  # a run of an older version lacks them
        options = options.copy()
        options.boxes = boxes
        name = f"{of}-boxes"
        opened = replace(opened, name=name, sizes={**opened.sizes, name: opened.sizes[of]})
    file = run.path / task.predictions_file(opened.name)
    evaluation = task.evaluate(opened, opened.samples, options, file, of)
    with opened.status("intervals of the metrics"):
        found = measured(evaluation, samples=options.bootstrap_samples, seed=options.seed)
    if opened.notes:
        found["notes"] = [*opened.notes, *found.get("notes", ())]
    results = _results(run, opened, found)
    write_shown(run, opened.name, evaluation)
    write_json(run.results(None if opened.name == options.split else opened.name), results)
    return results


def _results(run: Run, opened: Opened, found: dict[str, Any]) -> dict[str, Any]:
    """What results.json holds: where the numbers are from, the numbers, and what they cost."""
    experiment = opened.experiment
    kind = type(opened.task)
    parameters = sum(p.numel() for p in experiment.model.parameters())
    return {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "experiment": run.experiment,
        "task": kind.name,
        "task_class": f"{kind.__module__}.{kind.__qualname__}",
        "split": opened.name,
        "checkpoint": opened.checkpoint,
        "seed": int(experiment.cfg.seed),
        **found,
        "cost": {**dict.fromkeys(COST), "parameters": parameters, **_training_cost(run)},
        "data": {
            "source": opened.source,
            "real": opened.real,
            **{name: int(size) for name, size in opened.sizes.items()},
        },
    }


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
    print_whole(table, console)
    for note in results.get("notes", ()):
        console.print(note, style="dim", highlight=False, markup=False)


def _training_cost(run: Run) -> dict[str, Any]:
    """What training wrote down about its cost; nothing for a run that is still going or was stopped."""
    known = run.read_training()
    return {name: known[name] for name in COST if name in known}


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
