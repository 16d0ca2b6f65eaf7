"""What there is to show for an experiment: its runs, ablations and sweeps, as they lie in the runs folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeprob.errors import InputError
from deeprob.evaluation.report import task_of_results
from deeprob.runs import Run

FAILURES = 12


@dataclass(frozen=True)
class Evidence:
    """run: the newest evaluated run, and results, machine and epochs of it; seeds: those of all.

    failures: pictures of its worst mistakes, {image, said, of, key}. ablations, sweeps:
    folders of those that start from the experiment, with whether they are finished.
    """

    run: Run | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    num_runs: int = 0
    seeds: tuple[int, ...] = ()
    machine: str = ""
    epochs: int | None = None
    failures: list[Mapping[str, Any]] = field(default_factory=list)
    ablations: dict[str, str] = field(default_factory=dict)
    sweeps: dict[str, str] = field(default_factory=dict)


def find_evidence(runs_dir: Path, experiment: str, allowed: Sequence[str] = ()) -> Evidence:
    """Look through the runs folder; what is broken in it is left out, as a card must not fail over it.

    allowed: further packages that the task may come from.
    """
    evaluated = []
    for path in (runs_dir / experiment).glob("*/results.json"):
        try:
            evaluated.append((path.stat().st_mtime, Run(path.parent), Run(path.parent).read_results()))
        except InputError:
            continue
    ablations = {
        folder.name.removeprefix("ablation-"): "finished" if (folder / "table.md").is_file() else "begun"
        for folder in sorted(runs_dir.glob("ablation-*"))
        if _starts_from(folder, experiment)
    }
    sweeps = {
        folder.name: "finished" if (folder / "report.html").is_file() else "begun"
        for folder in sorted((runs_dir / "sweeps").glob("*"))
        if _starts_from(folder, experiment)
    }
    if not evaluated:
        return Evidence(ablations=ablations, sweeps=sweeps)
    _, run, results = max(evaluated, key=lambda entry: entry[0])
    return Evidence(
        run=run,
        results=results,
        num_runs=len(evaluated),
        seeds=tuple(sorted({int(found["seed"]) for _, _, found in evaluated if "seed" in found})),
        machine=_machine(run),
        epochs=_known(run.read_training).get("epochs"),
        failures=_failures(run, results, allowed),
        ablations=ablations,
        sweeps=sweeps,
    )


def _starts_from(folder: Path, experiment: str) -> bool:
    """Whether the runs in a folder were made of the experiment: one override tells."""
    for path in folder.glob("*/overrides.txt"):
        return f"experiment={experiment}" in path.read_text(encoding="utf-8").splitlines()
    return False


def _machine(run: Run) -> str:
    """The processor that a run was made on."""
    facts = _known(run.read_environment)
    if not facts:
        return ""
    return ", ".join(facts.get("gpus") or []) or f"{facts.get('cpu')}, CPU threads: {facts.get('threads')}"


def _known(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a record of the run holds, nothing where it is broken."""
    try:
        return read()
    except (OSError, InputError):
        return {}


def _failures(run: Run, results: Mapping[str, Any], allowed: Sequence[str]) -> list[Mapping[str, Any]]:
    """The worst mistakes that the evaluation kept pictures of."""
    try:
        kind = task_of_results(results, allowed)
        page = kind.page(results, run.path / kind.predictions_file(results["split"]), run.path)
    except InputError:
        return []
    return list(page.failures)[:FAILURES]
