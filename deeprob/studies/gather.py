"""Any runs in one table: those that differ by their seed alone form a group."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from deeprob.config_files import read_written
from deeprob.errors import InputError
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
    for path in sorted(glob.glob(pattern)):
        run = Run(Path(path))
        if not run.results().is_file():
            continue
        config = _read(run.config)
        compared = {k: str(v) for k, v in config.items() if k.split(".")[0] not in NOT_COMPARED}
        key = str(run.read_results()["experiment"]), json.dumps(compared, sort_keys=True)
        configs[key] = compared
        found.setdefault(key, {})[int(config.get("seed", 0))] = run
    groups: dict[str, dict[int, Run]] = {}
    changes: dict[str, Sequence[str]] = {}
    for key in sorted(found):
        siblings = [config for other, config in configs.items() if other[0] == key[0]]
        differing = sorted(
            k for k in {k for c in siblings for k in c} if len({c.get(k) for c in siblings}) > 1
        )
        own = [f"{k}={configs[key].get(k, 'not set')}" for k in differing]
        name = " ".join([key[0], *map(_short, own)])
        groups[name], changes[name] = found[key], own
    return groups, changes


def _short(override: str) -> str:
    key, _, value = override.partition("=")
    return f"{key.rpartition('.')[2]}={value}"


def _read(path: Path) -> dict[str, Any]:
    """All keys of a config file, dots between the levels."""
    values = OmegaConf.to_container(read_written(path))
    assert isinstance(values, dict)
    return _flat(values)


def _flat(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
