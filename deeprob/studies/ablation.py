"""What each part contributes: variants of an experiment, each with every seed, and one table of differences.

    runs/ablation-<name>/<variant>-seed<k>-<hash of the resolved config>/     one run folder each
    runs/ablation-<name>/{ablation.html,table.md,table.csv,table.tex,effects.csv,difference.svg}

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
from deeprob.overrides import quoted
from deeprob.runs import Run
from deeprob.studies.comparison import Comparison, corrected
from deeprob.studies.designs import BASE, Design, make_design
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
    """Every run of an ablation. jobs: (variant, seed) -> job. allowed: where its task may come from."""

    name: str
    folder: Path
    metric: str | None
    experiment: str
    design: Design
    seeds: Sequence[int]
    jobs: Mapping[tuple[str, int], Job]
    allowed: Sequence[str] = ()


def plan(cfg: DictConfig) -> Plan:
    """Compose every run of the root config of `deeprob ablate`.

    Raises InputError, naming the variant, for an override that names no key, for two variants that are the
    same, and for a variant called `base`.
    """
    ablation = cfg.ablation
    design = make_design(
        ablation.design,
        OmegaConf.to_container(ablation.variants),  # type: ignore[arg-type]
        OmegaConf.to_container(ablation.factors),  # type: ignore[arg-type]
    )
    if not ablation.seeds or len(set(ablation.seeds)) < len(ablation.seeds):
        raise InputError(
            f"seeds {list(ablation.seeds)}",
            where=f"ablation {ablation.name}",
            expected="one or more, each once",
        )
    folder = Path(cfg.paths.runs_dir) / f"ablation-{ablation.name}"
    jobs: dict[tuple[str, int], Job] = {}
    variant_of: dict[str, str] = {}
    for name, changes in design.variants.items():
        overrides = [f"experiment={ablation.experiment}", *ablation.overrides, *changes]
        try:
            composed = compose("train", overrides)
        except InputError as error:
            where = _culprit(ablation, changes) or f"variant {name}"
            raise InputError(str(error), where=where) from error
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
        ablation.name,
        folder,
        ablation.metric,
        ablation.experiment,
        design,
        list(ablation.seeds),
        jobs,
        list(composed.allowed_targets),
    )


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
