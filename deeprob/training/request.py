"""Which folder a training takes: its own from before an interruption, or a new one. Never another's."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from deeprob.config import check_name
from deeprob.config_errors import flatten
from deeprob.errors import InputError
from deeprob.runs import Run, given_run_id
from deeprob.writing import write_new

NOT_COMPARED = ("paths", "name", "run", "logger", "card", "allowed_targets")
"""Keys that say where a run lies and what is told of it, not what is trained."""


def run_of(cfg: DictConfig, overrides: list[str], several: bool = False) -> Run:
    """The run folder of a training, with its config.yaml in it.

    Without a given id (`runs.given_run_id`) it is a new one. With one it is the folder that holds the same
    request, or a new one: an allocation's later trainings get its number with -2, -3 and so on. several:
    whether this is one of a multirun's trainings, which may share DEEPROB_RUN_ID in the same way.
    Raises InputError where DEEPROB_RUN_ID names the folder of another training.
    """
    runs_dir = Path(cfg.paths.runs_dir)
    run_id = given_run_id()
    if run_id is None:
        return Run.create(runs_dir, cfg.name)
    check_name("DEEPROB_RUN_ID", run_id)
    by_hand = bool(os.environ.get("DEEPROB_RUN_ID"))
    for number in itertools.count(1):
        run = Run.create(runs_dir, cfg.name, run_id if number == 1 else f"{run_id}-{number}")
        if write_new(run.config, config_text(cfg)):
            return run
        different = differences(cfg, run)
        if not different or _requeued_with(overrides, run):
            return run
        if by_hand and not several:
            raise InputError(
                f"DEEPROB_RUN_ID={run_id} is the folder of another training ({_listed(different)} differ)",
                where=run.path,
                fix=f"give it an id of its own, or go on with that one: deeprob train {run.argument}",
            )
    raise AssertionError("not reached")


def config_text(cfg: DictConfig) -> str:
    """A config as config.yaml holds it: every value in place, and no permission to call further code."""
    kept = cfg.copy()
    kept.allowed_targets = []
    return OmegaConf.to_yaml(kept, resolve=True)


def differences(cfg: DictConfig, run: Run) -> list[str]:
    """The keys in which a config and a run folder's differ, other than in where files lie."""
    from deeprob.training.experiment import read_config

    asked, there = _settled(cfg), _settled(read_config(run))
    absent = object()
    return sorted(
        key for key in asked.keys() | there.keys() if asked.get(key, absent) != there.get(key, absent)
    )


def _settled(cfg: DictConfig) -> dict[str, Any]:
    """What is trained: all values, with names in place of the folders that `paths` gives."""
    resolved: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    places = {str(place): f"<{name}>" for name, place in resolved["paths"].items() if place}
    kept = (item for item in flatten(resolved).items() if item[0].partition(".")[0] not in NOT_COMPARED)
    return {key: _without_places(value, places) for key, value in kept}


def _without_places(value: Any, places: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_without_places(item, places) for item in value]
    if isinstance(value, str):
        for place in sorted(places, key=len, reverse=True):
            if value == place or value.startswith(place.rstrip("/") + "/"):
                return places[place] + value[len(place.rstrip("/")) :]
    return value


def _requeued_with(overrides: list[str], run: Run) -> bool:
    """Whether a scheduler started the same command again: what it resolves to may have changed meanwhile."""
    if not int(os.environ.get("SLURM_RESTART_COUNT") or 0) or not run.overrides.is_file():
        return False
    return run.overrides.read_text(encoding="utf-8").splitlines() == overrides


def _listed(keys: list[str], most: int = 3) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
