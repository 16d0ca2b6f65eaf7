"""report.html of a file of predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeprob.metrics.scores import Judged
from deeprob.page import figures, pages
from deeprob.page.definitions import SLICE_TITLES, title
from deeprob.runs import write_text

TASKS = {
    "pose": "Object poses",
    "detection": "Detection",
    "instance_segmentation": "Instance segmentation",
    "segmentation": "Semantic segmentation",
}
HEADLINE = {
    "pose": ("bop_average_recall", "add_or_add_s_auc", "recall_5deg_5cm"),
    "detection": ("mean_ap", "ap50", "average_recall"),
    "instance_segmentation": ("mean_ap", "ap50", "average_recall"),
    "segmentation": ("miou", "boundary_f1", "pixel_accuracy"),
}
PER_CLASS = {
    "pose": (
        "bop_average_recall",
        "add_or_add_s_auc",
        "rotation_error_deg",
        "translation_error_cm",
    ),
    "detection": ("class_ap", "class_ap50"),
    "instance_segmentation": ("class_ap", "class_ap50"),
    "segmentation": ("class_iou",),
}
COUNTED = {"pose": "instances", "segmentation": "images"}
LEGENDS = {
    "pose": "Green: where the object is. Red: where the estimate puts it.",
    "detection": "Green: what is there. Red: as many of the surest detections.",
    "instance_segmentation": "Green: what is there. Red: as many of the surest masks.",
    "segmentation": "Red: pixels of a wrong class.",
}


def write_page(folder: Path, results: Mapping[str, Any], judged: Judged, command: str) -> Path:
    """Write report.html and plots/*.svg into the folder; returns the page's path. command: that made it."""
    task = results["task"]
    optional = {"slices": results["slices"], "worst": judged.worst}
    sections = (
        ("results", "Results"),
        ("classes", "By class"),
        ("slices", "Error slices"),
        ("worst", "Worst first"),
    )
    contents = [
        *(s for s in sections if optional.get(s[0], True)),
        ("reproduce", "Reproduce"),
        ("definitions", "Definitions"),
    ]
    context = {
        "results": results,
        "name": Path(results["predictions"]).name,
        "task_title": TASKS[task],
        "abstract": _abstract(results),
        "headline": HEADLINE[task],
        "contents": contents,
        "caption": _caption(results),
        "drawings": list(judged.drawings.values()),
        "per_class": PER_CLASS[task],
        "counted": COUNTED.get(task, "objects"),
        "slice_titles": SLICE_TITLES,
        "worst": judged.worst,
        "legend": LEGENDS[task],
        "command": command,
    }
    names = {*results["metrics"], *results["baselines"], *PER_CLASS[task], "ci95", "n", results["sliced"]}
    names |= {"difference", "p_value"} if results["differences"] else set()
    write_text(folder / "report.html", pages.render("predicted.html.j2", names, context))
    for name, (drawing, _) in judged.drawings.items():
        write_text(folder / "plots" / f"{name}.svg", figures.standalone(drawing) + "\n")
    return folder / "report.html"


def _abstract(results: Mapping[str, Any]) -> str:
    """The first number in words, against the baseline."""
    metric = HEADLINE[results["task"]][0]
    entry = results["metrics"][metric]
    if entry["value"] is None:
        metric = HEADLINE[results["task"]][1]
        entry = results["metrics"][metric]
    text = f"{title(metric)} is {pages.fixed(entry['value'])}"
    if entry["ci95"]:
        text += f" (95 % interval {pages.fixed(entry['ci95'][0])} to {pages.fixed(entry['ci95'][1])})"
    for name, baseline in results["baselines"].items():
        other = "the labels of another image" if name == "random" else name
        text += f"; {pages.fixed(baseline[metric]['value'])} for {other}"
    return f"{text}. {results['data'][results['split']]:,} images of {results['data']['source']}."


def _caption(results: Mapping[str, Any]) -> str:
    units, of = results["interval"]["units"], results["interval"]["unit"]
    unit = {"frame": "images", "group": "scenes or recordings"}[of]
    text = f"{results['data'][results['split']]:,} images; {units:,} independent {unit}"
    if units < 2:
        return f"{text}: no interval can be given from one alone."
    return f"{text}, drawn {results['interval']['samples']:,} times for the intervals."
