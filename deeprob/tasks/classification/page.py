"""What a report shows of a classified split: weights, confusions, slices, curves, calibration, samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deeprob.errors import InputError
from deeprob.metrics.classification import reliability, sample_sums
from deeprob.page import figures
from deeprob.page.definitions import title
from deeprob.page.run_facts import split_name
from deeprob.runs import Run
from deeprob.tasks.base import Block, Page
from deeprob.tasks.classification.curves import ranking_curves
from deeprob.tasks.classification.learned import cross_validation_chart, read_cross_validation
from deeprob.tasks.classification.measure import AREAS, PER_CLASS
from deeprob.tasks.classification.pictures import samples_of, template_sheet, templates_of
from deeprob.tasks.classification.predictions import Predictions, frequent_confusions

MATRIX_CLASSES = 25  # more than these do not fit on a page: the most frequent confusions stand for them
MOST_ROWS = 200  # of a table of classes, and curves of a drawing
HEADLINE = ("top1_accuracy", "balanced_accuracy", "macro_f1")


def page_of(results: Mapping[str, Any], predictions: Predictions, folder: Path) -> Page:
    """The page of a run's results. Raises InputError where a part of them is missing."""
    missing = sorted({"per_class", "confusion"} - set(results))
    if missing and "confusions" not in results:  # which stands for the matrix of many classes
        raise InputError(
            f"without {', '.join(missing)}",
            where=folder / "results.json",
            fix=f"run: deeprob evaluate {Run(folder).argument}",
        )
    classes, samples = predictions.classes, samples_of(predictions)
    sums = np.asarray(sample_sums(predictions.probabilities, predictions.labels).sum(axis=0))
    diagram = figures.reliability_diagram(*reliability(sums))
    templates, found = templates_of(predictions), read_cross_validation(Run(folder))
    choice = "" if found is None else cross_validation_chart(found["k"], found["accuracy"])
    has_areas = all(set(AREAS) <= set(entries) for entries in results["per_class"].values())
    ranked = ranking_curves(predictions, _lowest(results, AREAS[0])) if has_areas else {}
    learned = {"templates": templates, "choice": choice, "classes": classes}
    errors = {
        "matrix": _matrix(results.get("confusion", ())),
        "confusions": _confusions(predictions),
        "classes": classes,
        "rows": _lowest(results, "f1"),
    }
    rows = _lowest(results, AREAS[1]) if has_areas else {}
    shown: dict[str, Any] = {
        "wrong": [s for s in samples if s["label"] != s["predicted"]],
        "right": [s for s in samples if s["label"] == s["predicted"]],
        "num_wrong": int((predictions.predicted != predictions.labels).sum()),
    }
    blocks = [
        Block("learned", "What it learned", "learned", learned) if templates or choice else None,
        Block("errors", "Where it errs", "errors", errors),
        Block("slices", "Error slices", "slices") if results.get("slices") else None,
        Block(
            "ranking", "ROC and precision-recall", "ranking", {"ranked": ranked, "areas": AREAS, "rows": rows}
        )
        if ranked
        else None,
        Block("calibration", "Calibration", "calibration", {"reliability": diagram}),
        Block("samples", "Samples", "samples", shown),
    ]
    return Page(
        abstract=_abstract(results),
        headline=[name for name in HEADLINE if name in results["metrics"]],
        blocks=[block for block in blocks if block is not None],
        captions={"top1_accuracy": "Top-1 accuracy, on augmented images in training."},
        drawings={"reliability": diagram, "cross_validation": choice, **ranked},
        failures=[
            {
                "image": s["image"],
                "said": f"{s['predicted']} {s['confidence']:.2f}",
                "of": f"is {s['label']}",
                "key": s["key"],
            }
            for s in shown["wrong"]
        ],
        terms=[*PER_CLASS, *(AREAS if ranked else ()), *(["slices"] if results.get("slices") else ())],
        pictures={"templates": template_sheet(predictions)} if templates else {},
    )


def _abstract(results: Mapping[str, Any]) -> str:
    """Say the result in words, against the best baseline."""
    entry = results["metrics"]["top1_accuracy"]
    interval = entry["ci95"]
    share = 100 * entry["value"]
    text = f"On the {split_name(results)} split the model is right on {share:.1f} % of {entry['n']:,} samples"
    if interval:
        text += f" (95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f} %)"
    baselines = {name: b["top1_accuracy"]["value"] for name, b in results["baselines"].items()}
    if baselines:
        best = max(baselines, key=lambda name: baselines[name])
        gain = 100 * (entry["value"] - baselines[best])
        side = "above" if gain >= 0 else "below"
        text += f", {abs(gain):.1f} points {side} the best baseline"
        text += f" ({title(best)}, {100 * baselines[best]:.1f} %)"
    kind = "from a real robot" if results["data"]["real"] else "simulated"
    return f"{text}. The images are {kind}: {results['data']['source']}."


def _matrix(confusion: Sequence[Sequence[int]]) -> list[list[dict[str, Any]]] | None:
    """Cells with their share of the row, or None where there are too many classes for a table."""
    if not 0 < len(confusion) <= MATRIX_CLASSES:
        return None
    return [
        [{"count": c, "share": c / max(sum(row), 1), "diagonal": i == j} for j, c in enumerate(row)]
        for i, row in enumerate(confusion)
    ]


def _confusions(predictions: Predictions, most: int = 5) -> str:
    """Name the most frequent confusions in one sentence."""
    pairs, classes = frequent_confusions(predictions), predictions.classes
    total = sum(c for c, _, _ in pairs)
    if not total:
        return ""
    named = [f"{classes[i]} taken for {classes[j]} ({c:,})" for c, i, j in pairs[:most]]
    share = sum(c for c, _, _ in pairs[:most]) / total
    return f"The most frequent of {total:,} errors: {', '.join(named)}; together {100 * share:.0f} % of all."


def _lowest(results: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """What is known of each class; of more than MOST_ROWS, those of the lowest values of a metric."""
    per_class = results["per_class"]
    if len(per_class) <= MOST_ROWS:
        return dict(per_class)

    def value(name: str) -> float:
        of = per_class[name][metric]["value"]
        return 2.0 if of is None else float(of)  # what is not defined comes last

    return {name: per_class[name] for name in sorted(per_class, key=value)[:MOST_ROWS]}
