"""report.html: one self-contained file, of a run from its folder alone, or of a file of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeprob.errors import InputError
from deeprob.evaluation.robustness import read_robustness
from deeprob.page import drawing, figures, pages
from deeprob.page.definitions import SLICE_TITLES, title
from deeprob.page.pictures import png
from deeprob.page.run_facts import commands, cost_rows, curve_caption, machine, split_name, text_of
from deeprob.page.tracking import track
from deeprob.runs import Run
from deeprob.targets import locate
from deeprob.tasks.base import Page, Task
from deeprob.tasks.frames import FrameTask
from deeprob.tasks.known import known_tasks
from deeprob.writing import atomic_file, write_text

SCHEMA = 1
NEEDED = {"metrics", "baselines", "differences", "per_class", "cost", "data", "split", "interval"}
CONTENTS = (("other", "On other data"), ("robustness", "Robustness"), ("cost", "Data and cost"))


def write_report(run: Run, split: str | None = None, allowed: Sequence[str] = ()) -> Path:
    """Write report.html and plots/* from results.json (results_<split>.json), and return its path.

    allowed: further packages that a task may come from. Raises InputError where the run was not evaluated, or
    what evaluation wrote is missing or broken.
    """
    results = run.read_results(split)
    _check(run, results)
    kind = task_of_results(results, allowed)
    page = kind.page(results, run.path / kind.predictions_file(results["split"]), run.path)
    curves = figures.learning_curves(run.read_metrics())
    robustness = read_robustness(run, results["split"])
    others = other_results(run, results)
    more = {
        "curves": curves,
        "curve_captions": {name: page.captions.get(name, curve_caption(name)) for name in curves},
        "others": others,
        "robustness": robustness,
        "robustness_drawing": "" if robustness is None else _robustness_drawing(robustness),
        "sizes": {k: v for k, v in results["data"].items() if k not in ("source", "real")},
        "cost": cost_rows(results["cost"]),
        "config": text_of(run.config),
        "folder": run.path,
        **machine(run),
    }
    found = {"other": others, "robustness": robustness, "cost": more["cost"]}
    sections = [
        *([("learning", "Learning curves")] if curves else []),
        *((block.id, block.title) for block in page.blocks),
        *((id, name) for id, name in CONTENTS if found[id]),
    ]
    kicker = [kind.title, f"run {results['run_id']}", f"seed {results['seed']}"]
    context = _context(results, page, sections) | {
        "kicker": [*kicker, f"{results['checkpoint']} checkpoint"],
        "heading": str(results["experiment"]).replace("_", " "),
        "commands": commands(run, results),
        **more,
    }
    terms = {*_terms(results, page), *results["cost"], *(["other_data"] if others else [])}
    write_text(run.report, pages.render("report.html.j2", terms, context))
    drawings = {**curves, "baselines": context["comparison"], "robustness": context["robustness_drawing"]}
    drawings |= page.drawings
    drawing.write_drawings(run.plots, drawings)
    for name, picture in page.pictures.items():
        with atomic_file(run.plots / f"{name}.png", "wb") as file:
            file.write(png(picture))
    track(run, results, drawings)
    return run.report


def write_page(
    folder: Path, results: Mapping[str, Any], kind: type[FrameTask], page: Page, command: str
) -> Path:
    """Write report.html and plots/*.svg of a file of predictions; returns the page's path.

    page: what it shows. command: that made it.
    """
    context = _context(results, page, [(block.id, block.title) for block in page.blocks]) | {
        "kicker": [kind.title, results["data"]["source"], f"{results['split']} split"],
        "heading": Path(results["predictions"]).name,
        "commands": [command],
        "folder": results["predictions"],
        **dict.fromkeys(("curves", "others", "robustness", "cost", "config", "environment"), ()),
    }
    write_text(folder / "report.html", pages.render("report.html.j2", _terms(results, page), context))
    drawing.write_drawings(folder / "plots", page.drawings)
    return folder / "report.html"


def task_of_results(results: Mapping[str, Any], allowed: Sequence[str] = ()) -> type[Task]:
    """The class of the task that results are of. Raises InputError for one that is not known here."""
    target, name = results.get("task_class"), str(results["task"])
    if target is None and name in known_tasks():  # as earlier versions wrote them
        return known_tasks()[name]
    if not isinstance(target, str):
        raise InputError(f"results of a task {name!r}", expected=", ".join(known_tasks()))
    found = locate(target, allowed)
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise InputError(f"task_class {target} is no task", where="results.json")
    return found


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


def _context(results: Mapping[str, Any], page: Page, sections: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What the template takes of any results."""
    first = title(page.headline[0]) if page.headline else ""
    return {
        "results": results,
        "abstract": page.abstract,
        "headline": [name for name in page.headline if name in results["metrics"]],
        "counted": page.counted,
        "caption": _caption(results, page.counted),
        "contents": [
            ("results", "Results"),
            *sections,
            ("reproduce", "Reproduce"),
            ("definitions", "Definitions"),
        ],
        "blocks": page.blocks,
        "slice_titles": SLICE_TITLES,
        "comparison": _comparison(results, page),
        "comparison_caption": f"{first} beside the baselines, with 95 % intervals.",
    }


def _caption(results: Mapping[str, Any], counted: str) -> str:
    """Of the table of metrics: how many samples and units, and how the intervals were made."""
    units, interval = results["interval"]["units"], results["interval"]
    text = f"{split_name(results).capitalize()} split, {results['data'][results['split']]:,} samples in "
    text += f"{units:,} independent units"
    if units < 2:
        return f"{text}: no interval can be given from one alone."
    return f"{text}; intervals from {interval['samples']:,} resamples of the units."


def _comparison(results: Mapping[str, Any], page: Page) -> str:
    """Draw the first metric of the model beside the baselines'."""
    if not results["baselines"]:
        return ""
    metric = page.headline[0]
    entry = results["metrics"].get(metric)
    if entry is None or entry["value"] is None:
        return ""
    rows = [("model", entry["value"], entry["ci95"])]
    rows += [
        (title(name), b[metric]["value"], b[metric]["ci95"])
        for name, b in results["baselines"].items()
        if b[metric]["value"] is not None
    ]
    return figures.intervals_chart(rows, title(metric).replace("Top", "top"), name="baselines")


def _terms(results: Mapping[str, Any], page: Page) -> set[str]:
    """The names to define at the end of the page."""
    names = {*results["metrics"], *results["baselines"], *page.terms, "ci95", "n"}
    return names | ({"difference", "p_value"} if results["differences"] else set())


def _robustness_drawing(robustness: Mapping[str, Any]) -> str:
    corrupted = {
        name: [entry["value"] for entry in entries] for name, entries in robustness["corruptions"].items()
    }
    return figures.robustness_curves(robustness["clean"]["value"], corrupted, title(robustness["metric"]))


def _check(run: Run, results: Mapping[str, Any]) -> None:
    """Refuse results of another schema or with a part missing, before a template stumbles over it."""
    if results.get("schema") != SCHEMA:
        raise InputError(f"schema {results.get('schema')}", where=run.results(), expected="schema 1")
    missing = sorted(NEEDED - set(results))
    if missing:
        raise InputError(
            f"without {', '.join(missing)}", where=run.results(), fix=f"run: deeprob evaluate {run.argument}"
        )
