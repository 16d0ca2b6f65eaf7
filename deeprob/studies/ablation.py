"""What each part contributes: variants of an experiment, each with every seed, and one table of differences.

    runs/ablation-<name>/<variant>-seed<k>-<hash of the resolved config>/     one run folder each
    runs/ablation-<name>/{ablation.html,table.md,table.csv,table.tex,effects.csv,difference.svg}

A run is known by the hash of its config: a repeated call skips what is done, and a changed variant runs anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from deeprob.config import compose, composed_with
from deeprob.errors import InputError
from deeprob.overrides import quoted
from deeprob.runs import Run
from deeprob.studies.comparison import Comparison, corrected
from deeprob.studies.designs import BASE, Design, make_design, make_grid
from deeprob.studies.findings import Findings, write_findings
from deeprob.studies.processes import Job

NOT_HASHED = (
    "paths",
    "name",
    "run",
    "logger",
    "card",
)  # where a run lies and what is told of it do not matter


@dataclass(frozen=True)
class Plan:
    """Every run of an ablation. jobs: (variant, seed) -> job. allowed: where its task may come from.

    starts: (name, seed) -> the job of a run that variants start from, to be done before.
    """

    name: str
    folder: Path
    metric: str | None
    experiment: str
    design: Design
    seeds: Sequence[int]
    jobs: Mapping[tuple[str, int], Job]
    allowed: Sequence[str] = ()
    starts: Mapping[tuple[str, int], Job] = field(default_factory=dict)


def plan(cfg: DictConfig) -> Plan:
    """Compose every run of the root config of `deeprob ablate`.

    Raises InputError, naming the variant, for an override that names no key, for two variants that are the
    same, and for a variant called `base`.
    """
    ablation = cfg.ablation
    design = _design(ablation)
    if not ablation.seeds or len(set(ablation.seeds)) < len(ablation.seeds):
        raise InputError(
            f"seeds {list(ablation.seeds)}",
            where=f"ablation {ablation.name}",
            expected="one or more, each once",
        )
    folder = Path(cfg.paths.runs_dir) / f"ablation-{ablation.name}"
    asked = {change.partition("=@")[2] for changes in design.variants.values() for change in changes}
    starts = _starts(cfg, folder, asked)
    jobs: dict[tuple[str, int], Job] = {}
    variant_of: dict[str, str] = {}
    for name, changes in design.variants.items():
        for seed in ablation.seeds:
            own = [_started(change, seed, starts, folder) for change in changes]
            base = [f"experiment={ablation.experiment}", *ablation.overrides]
            overrides = [*base, *own]
            try:
                composed = composed_with("train", base, own)
            except InputError as error:
                where = _culprit(ablation, own) or f"variant {name}"
                raise InputError(str(error), where=where) from error
            composed.seed = seed
            key = config_hash(composed)
            twin = variant_of.setdefault(key, name)
            if twin != name:
                raise InputError(f"the same as {twin}", where=f"variant {name}", fix="leave one of them out")
            run_id = f"{name}-seed{seed}-{key}"
            settled = _settled(cfg, folder, seed)
            jobs[name, seed] = Job(f"{name} seed {seed}", (*overrides, *settled), Run(folder / run_id))
    return Plan(
        ablation.name,
        folder,
        ablation.metric,
        ablation.experiment,
        design,
        list(ablation.seeds),
        jobs,
        list(composed.allowed_targets),
        starts,
    )


def _design(ablation: DictConfig) -> Design:
    named: dict[str, Any] = OmegaConf.to_container(ablation)  # type: ignore[assignment]
    if ablation.design != "grid":
        return make_design(ablation.design, named["variants"], named["factors"])
    return make_grid(named["rows"], named["columns"], named["without"])


def _settled(cfg: DictConfig, folder: Path, seed: int) -> tuple[str, ...]:
    """What every run of an ablation is told beside its own overrides."""
    return f"seed={seed}", f"name={folder.name}", *(f"paths.{k}={quoted(v)}" for k, v in cfg.paths.items())


def _starts(cfg: DictConfig, folder: Path, asked: Collection[str]) -> dict[tuple[str, int], Job]:
    """Compose the runs that variants start from, those of them that are `asked` for.

    Raises InputError, naming the run.
    """
    ablation, jobs = cfg.ablation, {}
    for name, changes in ablation.starts.items():
        if name not in asked:
            continue
        overrides = [f"experiment={ablation.experiment}", *ablation.overrides, *changes]
        try:
            composed = compose("train", overrides)
        except InputError as error:
            raise InputError(str(error), where=f"ablation.starts.{name}") from error
        for seed in ablation.seeds:
            composed.seed = seed
            run = Run(folder / f"start-{name}-seed{seed}-{config_hash(composed)}")
            given = (*overrides, *_settled(cfg, folder, seed))
            jobs[name, seed] = Job(f"start {name} seed {seed}", given, run)
    return jobs


def _started(change: str, seed: int, starts: Mapping[tuple[str, int], Job], folder: Path) -> str:
    """Put the folder of a start in the place of its name. Raises InputError for a name that there is not."""
    key, _, value = change.partition("=@")
    if not value:
        return change
    if (value, seed) not in starts:
        known = ", ".join(sorted({name for name, _ in starts})) or "none"
        raise InputError(f"no start {value!r}", where=f"ablation: {change}", expected=f"one of: {known}")
    # Below paths.runs_dir, wherever that is: the hash of the config stays the same.
    return f"{key}=${{paths.runs_dir}}/{folder.name}/{starts[value, seed].run.run_id}"


def _culprit(ablation: DictConfig, changes: Sequence[str]) -> str | None:
    """The factor of the first of these overrides that does not compose by itself; None without factors."""
    for change in changes if ablation.factors else ():
        try:
            compose("train", [f"experiment={ablation.experiment}", *ablation.overrides, change])
        except InputError:
            return f"ablation.factors.{change.partition('=')[0]}"
    return None


def config_hash(cfg: DictConfig) -> str:
    """Eight hexadecimal digits that change with anything a run depends on, and not with where it lies."""
    copy = OmegaConf.create(OmegaConf.to_container(cfg))
    assert isinstance(copy, DictConfig)
    for folder in copy.paths:
        copy.paths[folder] = f"<{folder}>"
    values: dict[str, Any] = OmegaConf.to_container(copy, resolve=True)  # type: ignore[assignment]
    kept = {key: value for key, value in values.items() if key not in NOT_HASHED}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


def compare(plan: Plan, errors: Mapping[str, str]) -> Findings:
    """Compare every variant with the base, from the runs that are done. errors: job label -> line."""
    groups = {
        name: {seed: plan.jobs[name, seed].run for seed in plan.seeds if plan.jobs[name, seed].done}
        for name in plan.design.variants
    }
    failed = {
        name: [
            f"seed {seed}: {errors[plan.jobs[name, seed].label]}"
            for seed in plan.seeds
            if plan.jobs[name, seed].label in errors
        ]
        for name in plan.design.variants
    }
    comparison = Comparison(groups, plan.metric, plan.allowed)
    effects = plan.design.effects
    contrasts = corrected([comparison.contrast(weights) for weights in effects.values()])
    return Findings(
        metric=comparison.metric,
        base=BASE,
        rows=comparison.rows(BASE, failed),
        changes=plan.design.variants,
        effects={name: c for name, c in zip(effects, contrasts, strict=True) if c is not None},
        curves=plan.design.curves,
    )


def write(plan: Plan, findings: Findings) -> Path:
    """Write the tables, the figure and the page into the ablation's folder; returns the page's path."""
    seeds = ", ".join(map(str, plan.seeds))
    return write_findings(
        findings,
        plan.folder,
        "ablation",
        heading=f"Ablation of {plan.experiment}",
        kicker=f"ablation {plan.name} · {len(plan.design.variants) - 1} variants · seeds {seeds}",
        command=f"deeprob ablate ablation={plan.name}",
    )
