"""Any runs in one table: those that differ by their seed alone form a group."""

from __future__ import annotations

import glob
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeprob.config_files import read_values
from deeprob.errors import InputError
from deeprob.progress import tracked
from deeprob.runs import Run
from deeprob.studies.comparison import Comparison
from deeprob.studies.findings import Findings, write_findings

NOT_COMPARED = ("seed", "paths", "name", "run", "logger", "card", "allowed_targets")  # not what was trained


def write_comparison(
    pattern: str, output: Path, metric: str | None, base: str | None = None, allowed: Sequence[str] = ()
) -> tuple[Findings, Path]:
    """Compare all evaluated runs whose folders match `pattern`; write page, tables and figure to `output`.

    metric: None takes the task's headline. base: the group that the others are compared with; None takes the
    first by name. Of runs with the same config and seed the newest counts. allowed: further packages that
    the task may come from. Raises InputError where fewer than two groups are found or `base` is none of them.
    """
    groups, changes = gather(pattern)
    if len(groups) < 2:
        raise InputError(
            f"{len(groups)} kind of evaluated run", where=f"runs={pattern}", expected="two or more to compare"
        )
    if base is None:
        base = next(iter(groups))
    elif base not in groups:
        raise InputError(f"no group {base!r}", where=f"runs={pattern}", expected=", ".join(groups))
    ordered = {base: groups[base], **groups}
    comparison = Comparison(ordered, metric, allowed)
    rows, metric = comparison.rows(base), comparison.metric
    findings = Findings(metric, base, rows, {name: changes[name] for name in ordered})
    num_runs = sum(len(of_group) for of_group in groups.values())
    path = write_findings(
        findings,
        output,
        "comparison",
        heading="Comparison of runs",
        kicker=f"{num_runs} runs in {len(groups)} groups · {pattern}",
        command=f"deeprob report runs='{pattern}' metric={metric}",
    )
    return findings, path


def gather(pattern: str) -> tuple[dict[str, dict[int, Run]], dict[str, Sequence[str]]]:
    """Group the evaluated runs that match: name -> seed -> run, and name -> what sets the group apart.

    A group goes by its experiment, and by what its config has of its own where two share one.
    """
    found: dict[tuple[str, str], dict[int, Run]] = {}
    configs: dict[tuple[str, str], dict[str, str]] = {}
    for path in tracked(sorted(glob.glob(pattern)), "reading runs"):
        run = Run(Path(path))
        if not run.results().is_file():
            continue
        config = _flat(read_values(run.config))
        compared = {k: str(v) for k, v in config.items() if k.split(".")[0] not in NOT_COMPARED}
        key = str(run.read_results()["experiment"]), json.dumps(compared, sort_keys=True)
        configs[key] = compared
        found.setdefault(key, {})[int(config.get("seed", 0))] = run
    groups: dict[str, dict[int, Run]] = {}
    changes: dict[str, Sequence[str]] = {}
    differing = _differing(configs)
    for key in sorted(found):
        own = [f"{k}={configs[key].get(k, 'not set')}" for k in differing[key[0]]]
        name = " ".join([key[0], *map(_short, own)])
        groups[name], changes[name] = found[key], own
    return groups, changes


def _differing(configs: Mapping[tuple[str, str], Mapping[str, str]]) -> dict[str, list[str]]:
    """Experiment -> the keys in which its configs differ."""
    values: dict[str, dict[str, set[str]]] = {}
    counts = Counter(experiment for experiment, _ in configs)
    there: Counter[tuple[str, str]] = Counter()
    for (experiment, _), config in configs.items():
        of_experiment = values.setdefault(experiment, {})
        for key, value in config.items():
            of_experiment.setdefault(key, set()).add(value)
            there[experiment, key] += 1
    return {
        experiment: sorted(
            key for key, of in keys.items() if len(of) > 1 or there[experiment, key] < counts[experiment]
        )
        for experiment, keys in values.items()
    }


def _short(override: str) -> str:
    key, _, value = override.partition("=")
    return f"{key.rpartition('.')[2]}={value}"


def _flat(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
