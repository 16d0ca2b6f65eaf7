"""report.html of a run that labels the parts of clouds of points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeprob.errors import InputError
from deeprob.evaluation import figures, pages
from deeprob.evaluation.metrics.points import METRICS
from deeprob.evaluation.parts import COLOURS, PartPredictions
from deeprob.evaluation.pictures import data_uri
from deeprob.evaluation.run_facts import commands, cost_rows, curve_caption, machine, split_name, text_of
from deeprob.evaluation.tracking import track
from deeprob.runs import Run, write_text

NEEDED = {"metrics", "baselines", "differences", "per_class", "per_category", "cost", "data", "interval"}


def write_part_report(run: Run, results: Mapping[str, Any]) -> Path:
    """Write report.html and plots/*.svg of a run of part segmentation; returns the page's path.

    Raises InputError where what evaluation wrote is missing or broken.
    """
    missing = sorted(NEEDED - set(results))
    if missing:
        raise InputError(
            f"without {', '.join(missing)}", where=run.results(), fix=f"run: deeprob evaluate {run.argument}"
        )
    predictions = PartPredictions.load(run, results["split"])
    curves = figures.learning_curves(run.read_metrics())
    context = {
        "results": results,
        "split_name": split_name(results),
        "abstract": _abstract(results),
        "headline": METRICS,
        "curves": curves,
        "curve_captions": {name: curve_caption(name) for name in curves}
        | {"top1_accuracy": "Share of points labelled right, on augmented clouds in training."},
        "shapes": _shapes(predictions),
        "legend": [
            (name, "#{:02x}{:02x}{:02x}".format(*COLOURS[i % len(COLOURS)].tolist()))
            for i, name in enumerate(predictions.parts)
        ],
        "sizes": {k: v for k, v in results["data"].items() if k not in ("source", "real")},
        "cost": cost_rows(results["cost"]),
        "commands": commands(run, results),
        "config": text_of(run.config),
        "folder": run.path,
        **machine(run),
    }
    names = {*METRICS, *results["baselines"], *results["cost"], "iou", "ci95", "n"}
    if results["differences"]:
        names |= {"difference", "p_value"}
    write_text(run.report, pages.render("part_segmentation.html.j2", names, context))
    for name, drawing in curves.items():
        write_text(run.plots / f"{name.replace('/', '-')}.svg", figures.standalone(drawing) + "\n")
    track(run, results, curves)
    return run.report


def _abstract(results: Mapping[str, Any]) -> str:
    """Say the result in words, against the baseline."""
    entry, accuracy = results["metrics"]["instance_miou"], results["metrics"]["point_accuracy"]
    text = (
        f"On the {split_name(results)} split the parts of {entry['n']:,} shapes are found with a mean IoU of "
        f"{entry['value']:.3f}; {100 * accuracy['value']:.1f} % of the points are labelled right"
    )
    for baseline in results["baselines"].values():
        share = 100 * baseline["point_accuracy"]["value"]
        text += f", against {share:.1f} % where every point gets the most frequent part"
    return f"{text}. The clouds are of {results['data']['source']}."


def _shapes(predictions: PartPredictions) -> list[dict[str, Any]]:
    """The shapes that evaluation chose to show, as the template takes them."""
    return [
        {
            "image": data_uri(picture),
            "key": predictions.keys[i],
            "category": predictions.category_names[int(predictions.categories[i])],
            "right": float((predictions.labels[i] == predictions.predicted[i]).mean()),
        }
        for i, picture in zip(predictions.shown.tolist(), predictions.pictures, strict=True)
    ]
