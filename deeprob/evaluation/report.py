"""report.html of a run: one self-contained file, from the run folder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deeprob.errors import InputError
from deeprob.evaluation import figures, pages
from deeprob.evaluation.curves import ranking_curves
from deeprob.evaluation.definitions import title
from deeprob.evaluation.evaluate import AREAS
from deeprob.evaluation.learned import cross_validation_chart, read_cross_validation
from deeprob.evaluation.metrics.classification import reliability, sample_sums
from deeprob.evaluation.part_report import write_part_report
from deeprob.evaluation.parts import TASK as PART_SEGMENTATION
from deeprob.evaluation.pictures import png, samples_of, template_sheet, templates_of
from deeprob.evaluation.predictions import Predictions
from deeprob.evaluation.robustness import read_robustness
from deeprob.evaluation.run_facts import commands, cost_rows, curve_caption, machine, split_name, text_of
from deeprob.evaluation.slices import TITLES
from deeprob.evaluation.tracking import track
from deeprob.runs import Run, atomic_file, write_text

MATRIX_CLASSES = 25  # more than these do not fit on a page: the most frequent confusions stand for them
CONTENTS = (
    ("results", "Results"),
    ("learning", "Learning curves"),
    ("learned", "What it learned"),
    ("errors", "Where it errs"),
    ("slices", "Error slices"),
    ("ranking", "ROC and precision-recall"),
    ("other", "On other data"),
    ("calibration", "Calibration"),
    ("robustness", "Robustness"),
    ("samples", "Samples"),
    ("cost", "Data and cost"),
    ("reproduce", "Reproduce"),
    ("definitions", "Definitions"),
)


def write_report(run: Run, split: str | None = None) -> Path:
    """Write report.html and plots/* from results.json (results_<split>.json), and return its path.

    Raises InputError where the run was not evaluated, or what evaluation wrote is missing or broken.
    """
    results = run.read_results(split)
    if results.get("task") == PART_SEGMENTATION:
        return write_part_report(run, results)
    _check(run, results)
    predictions = Predictions.load(run, results["split"])
    curves = figures.learning_curves(run.read_metrics())
    sums = np.asarray(sample_sums(predictions.probabilities, predictions.labels).sum(axis=0))
    diagram = figures.reliability_diagram(*reliability(sums))
    comparison = _comparison(results)
    samples = samples_of(predictions)
    robustness = read_robustness(run, results["split"])
    templates = templates_of(predictions)
    found = read_cross_validation(run)
    choice = "" if found is None else cross_validation_chart(found["k"], found["accuracy"])
    ranked = ranking_curves(predictions) if _has_areas(results) else {}
    others = other_results(run, results)
    optional = {
        "learning": curves,
        "learned": templates or choice,
        "robustness": robustness,
        "slices": results.get("slices"),
        "ranking": ranked,
        "other": others,
    }
    robustness_drawing = "" if robustness is None else _robustness_drawing(robustness)
    context = {
        "results": results,
        "split_name": split_name(results),
        "abstract": _abstract(results),
        "headline": [
            m for m in ("top1_accuracy", "balanced_accuracy", "macro_f1") if m in results["metrics"]
        ],
        "contents": [c for c in CONTENTS if optional.get(c[0], True)],
        "comparison": comparison,
        "curves": curves,
        "curve_captions": {name: curve_caption(name) for name in curves},
        "templates": templates,
        "choice": choice,
        "classes": predictions.classes,
        "slices": results.get("slices", {}),
        "slice_titles": TITLES,
        "ranked": ranked,
        "areas": AREAS,
        "others": others,
        "matrix": _matrix(results["confusion"]),
        "confusions": _confusions(results["confusion"], predictions.classes),
        "reliability": diagram,
        "robustness": robustness,
        "robustness_drawing": robustness_drawing,
        "wrong": [s for s in samples if s["label"] != s["predicted"]],
        "right": [s for s in samples if s["label"] == s["predicted"]],
        "num_wrong": int((predictions.predicted != predictions.labels).sum()),
        "sizes": {k: v for k, v in results["data"].items() if k not in ("source", "real")},
        "cost": cost_rows(results["cost"]),
        "commands": commands(run, results),
        "config": text_of(run.config),
        "folder": run.path,
        **machine(run),
    }
    names = {
        *results["metrics"],
        *results["baselines"],
        *results["cost"],
        "precision",
        "recall",
        "f1",
        "ci95",
        "n",
    }
    if results.get("differences"):
        names |= {"difference", "p_value"}
    if results.get("slices"):
        names.add("slices")
    names |= set(AREAS) if ranked else set()
    if others:
        names.add("other_data")
    write_text(run.report, pages.render("run.html.j2", names, context))
    drawings = {**curves, "reliability": diagram, "baselines": comparison, "robustness": robustness_drawing}
    drawings |= {"cross_validation": choice, **ranked}
    for name, drawing in ((name, drawing) for name, drawing in drawings.items() if drawing):
        write_text(run.plots / f"{name.replace('/', '-')}.svg", figures.standalone(drawing) + "\n")
    if templates:
        with atomic_file(run.plots / "templates.png", "wb") as file:
            file.write(png(template_sheet(predictions)))
    track(run, results, drawings)
    return run.report


def other_results(run: Run, results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the run was found to do on other data sets: results as written, broken files left out."""
    found = []
    for path in sorted(run.path.glob("results_*.json")):
        try:
            other = run.read_results(path.stem.removeprefix("results_"))
        except InputError:
            continue
        if other["data"]["source"] != results["data"]["source"]:
            found.append(other)
    return found


def _has_areas(results: Mapping[str, Any]) -> bool:
    """Whether the evaluation measured what the curves enclose."""
    return all(set(AREAS) <= set(entries) for entries in results["per_class"].values())


def _check(run: Run, results: Mapping[str, Any]) -> None:
    """Refuse results of another schema or with a part missing, before a template stumbles over it."""
    if results.get("schema") != 1:
        raise InputError(f"schema {results.get('schema')}", where=run.results(), expected="schema 1")
    needed = {
        "metrics",
        "baselines",
        "differences",
        "per_class",
        "confusion",
        "cost",
        "data",
        "split",
        "interval",
    }
    missing = sorted(needed - set(results))
    if missing:
        raise InputError(
            f"without {', '.join(missing)}", where=run.results(), fix=f"run: deeprob evaluate {run.argument}"
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


def _comparison(results: Mapping[str, Any]) -> str:
    """Draw the model's top-1 accuracy beside the baselines'."""
    if not results["baselines"]:
        return ""
    entry = results["metrics"]["top1_accuracy"]
    rows = [("model", entry["value"], entry["ci95"])]
    rows += [
        (title(name), b["top1_accuracy"]["value"], b["top1_accuracy"]["ci95"])
        for name, b in results["baselines"].items()
    ]
    return figures.intervals_chart(rows, "top-1 accuracy", name="baselines")


def _robustness_drawing(robustness: Mapping[str, Any]) -> str:
    corrupted = {
        name: [entry["value"] for entry in entries] for name, entries in robustness["corruptions"].items()
    }
    return figures.robustness_curves(robustness["clean"]["value"], corrupted)


def _matrix(confusion: Sequence[Sequence[int]]) -> list[list[dict[str, Any]]] | None:
    """Cells with their share of the row, or None where there are too many classes for a table."""
    if len(confusion) > MATRIX_CLASSES:
        return None
    return [
        [{"count": c, "share": c / max(sum(row), 1), "diagonal": i == j} for j, c in enumerate(row)]
        for i, row in enumerate(confusion)
    ]


def _confusions(confusion: Sequence[Sequence[int]], classes: Sequence[str], most: int = 5) -> str:
    """Name the most frequent confusions in one sentence."""
    pairs = [(c, i, j) for i, row in enumerate(confusion) for j, c in enumerate(row) if i != j and c]
    total = sum(c for c, _, _ in pairs)
    if not total:
        return ""
    pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
    named = [f"{classes[i]} taken for {classes[j]} ({c:,})" for c, i, j in pairs[:most]]
    share = sum(c for c, _, _ in pairs[:most]) / total
    return f"The most frequent of {total:,} errors: {', '.join(named)}; together {100 * share:.0f} % of all."
