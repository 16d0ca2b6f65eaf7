"""What each part contributes: variants of an experiment, each with every seed, and one table of differences.

    runs/ablation-<name>/<variant>-seed<k>-<hash of the resolved config>/     one run folder each
    runs/ablation-<name>/{ablation.html,table.md,table.csv,table.tex,difference.svg}

A run is known by the hash of its config: a repeated call skips what is done, and a changed variant runs anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from deeprob.config import compose
from deeprob.errors import InputError
from deeprob.evaluation import figures, pages, tables
from deeprob.evaluation.comparison import Row, compare
from deeprob.evaluation.definitions import title
from deeprob.evaluation.processes import Job
from deeprob.runs import Run, write_text

BASE = "base"
NOT_HASHED = ("paths", "name", "run", "logger")  # where a run lies and who is told of it do not change it


@dataclass(frozen=True)
class Plan:
    """Every run of an ablation. jobs: (variant, seed) -> job; variants: name -> what it changes."""

    name: str
    folder: Path
    metric: str
    experiment: str
    variants: Mapping[str, Sequence[str]]
    seeds: Sequence[int]
    jobs: Mapping[tuple[str, int], Job]


def plan(cfg: DictConfig) -> Plan:
    """Compose every run of the root config of `deeprob ablate`.

    Raises InputError, naming the variant, for an override that names no key, for two variants that are the
    same, and for a variant called `base`.
    """
    ablation = cfg.ablation
    variants: dict[str, list[str]] = {BASE: []}
    for name, overrides in ablation.variants.items():
        if name == BASE or not str(name).replace("-", "").replace("_", "").isalnum():
            raise InputError(
                f"a variant named {name!r}",
                where=f"ablation {ablation.name}",
                expected=f"letters, digits, _ and -; {BASE!r} is always there",
            )
        variants[str(name)] = list(overrides)
    if not ablation.seeds or len(set(ablation.seeds)) < len(ablation.seeds):
        raise InputError(
            f"seeds {list(ablation.seeds)}",
            where=f"ablation {ablation.name}",
            expected="one or more, each once",
        )
    folder = Path(cfg.paths.runs_dir) / f"ablation-{ablation.name}"
    jobs: dict[tuple[str, int], Job] = {}
    variant_of: dict[str, str] = {}
    for name, changes in variants.items():
        overrides = [f"experiment={ablation.experiment}", *ablation.overrides, *changes]
        try:
            composed = compose("train", overrides)
        except InputError as error:
            raise InputError(str(error), where=f"variant {name}") from error
        for seed in ablation.seeds:
            composed.seed = seed
            key = config_hash(composed)
            twin = variant_of.setdefault(key, name)
            if twin != name:
                raise InputError(f"the same as {twin}", where=f"variant {name}", fix="leave one of them out")
            run_id = f"{name}-seed{seed}-{key}"
            settled = [f"name={folder.name}", *(f"paths.{k}={quoted(v)}" for k, v in cfg.paths.items())]
            jobs[name, seed] = Job(
                f"{name} seed {seed}", (*overrides, f"seed={seed}", *settled), Run(folder / run_id)
            )
    return Plan(
        ablation.name, folder, ablation.metric, ablation.experiment, variants, list(ablation.seeds), jobs
    )


def config_hash(cfg: DictConfig) -> str:
    """Eight hexadecimal digits that change with anything a run depends on, and not with where it lies."""
    copy = OmegaConf.create(OmegaConf.to_container(cfg))
    assert isinstance(copy, DictConfig)
    for folder in copy.paths:
        copy.paths[folder] = f"<{folder}>"
    values: dict[str, Any] = OmegaConf.to_container(copy, resolve=True)  # type: ignore[assignment]
    kept = {key: value for key, value in values.items() if key not in NOT_HASHED}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


def quoted(value: object) -> str:
    """A value as Hydra's override grammar takes any text."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(str(value), Quote.single).with_quotes()


def tabulate(plan: Plan, errors: Mapping[str, str]) -> list[Row]:
    """Rows of every variant, the base first, from the runs that are done. errors: job label -> line."""
    groups = {
        name: {seed: plan.jobs[name, seed].run for seed in plan.seeds if plan.jobs[name, seed].done}
        for name in plan.variants
    }
    failed = {
        name: [
            f"seed {seed}: {errors[plan.jobs[name, seed].label]}"
            for seed in plan.seeds
            if plan.jobs[name, seed].label in errors
        ]
        for name in plan.variants
    }
    return compare(groups, BASE, plan.metric, failed)


def write(plan: Plan, rows: Sequence[Row]) -> Path:
    """Write the table as markdown, CSV, LaTeX and HTML, and the figure; returns the HTML's path."""
    drawing = _difference_figure(plan, rows)
    write_text(plan.folder / "table.md", tables.markdown(rows, plan.metric))
    write_text(plan.folder / "table.csv", tables.comma_separated(rows, plan.metric))
    write_text(plan.folder / "table.tex", tables.latex(rows, plan.metric))
    if drawing:
        write_text(plan.folder / "difference.svg", figures.standalone(drawing) + "\n")
    context = {
        "heading": f"Ablation of {plan.experiment}",
        "kicker": f"ablation {plan.name} · {len(plan.variants) - 1} variants · seeds "
        + ", ".join(map(str, plan.seeds)),
        "abstract": _abstract(plan, rows),
        "metric": plan.metric,
        "base": BASE,
        "rows": rows,
        "changes": plan.variants,
        "drawing": drawing,
        "failures": tables.failures(rows),
        "command": f"deeprob ablate ablation={plan.name}",
        "folder": plan.folder,
    }
    terms = [plan.metric, "std", "over_seeds", "p_value_over_seeds", "train_seconds", "parameters", "n"]
    path = plan.folder / "ablation.html"
    write_text(path, pages.render("comparison.html.j2", terms, context))
    return path


def _abstract(plan: Plan, rows: Sequence[Row]) -> str:
    """Say in words what the table shows."""
    base = rows[0]
    if base.mean is None:
        return "The base experiment failed, so no variant can be compared with it."
    text = f"{title(plan.metric)} of the base is {base.mean:.4f}, the mean over {len(base.values)} seeds. "
    clear = [r for r in rows if r.difference is not None and r.difference.p_value < 0.05]
    if not clear:
        return text + "No variant differs from it clearly (corrected p at least 0.05)."
    clear.sort(key=lambda row: row.difference.value if row.difference else 0.0)
    named = [f"{r.name} ({pages.signed(r.difference.value, 4)})" for r in clear if r.difference]
    return text + f"Clearly different (corrected p below 0.05): {', '.join(named)}."


def _difference_figure(plan: Plan, rows: Sequence[Row]) -> str:
    """Every variant's difference from the base with its interval; nothing where none could be compared."""
    entries = [
        (r.name, r.difference.value, (r.difference.low, r.difference.high)) for r in rows if r.difference
    ]
    if not entries:
        return ""
    label = f"{title(plan.metric)}, difference from {BASE}"
    return figures.intervals_chart(entries, label, zero=True, name="difference")
