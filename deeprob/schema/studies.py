"""The settings of ablations and sweeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class BudgetSettings:
    """No run is started after so many hours, or so many runs, of one call; null: no limit."""

    hours: float | None = None
    runs: int | None = None


@dataclass
class AblationSettings:
    """Variants of a base experiment; the base itself is always run.

    design: `list` (variants: name -> overrides), or one made from factors (config key -> values):
    `one_at_a_time`, `leave_one_out`, `factorial`; or `grid`, rows with columns (name -> overrides), but the
    cells `without`; see deeprob.studies.designs.
    starts: name -> overrides of a run that variants start from by model.pretrained=@name, of the same seed.
    budget: what one call may spend; what is left then is for the next.
    """

    name: str = MISSING
    experiment: str = MISSING
    metric: str | None = None
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    overrides: list[str] = field(default_factory=list)
    design: str = "list"
    variants: dict[str, list[str]] = field(default_factory=dict)
    factors: dict[str, list[Any]] = field(default_factory=dict)
    rows: dict[str, list[str]] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    starts: dict[str, list[str]] = field(default_factory=dict)
    budget: BudgetSettings = field(default_factory=BudgetSettings)


@dataclass
class SweepSettings:
    """A search for the best setting of some keys of an experiment, by its own trainer.monitor.

    space: config key -> a list of choices, or {low, high} with `log: true` or `step`; two whole numbers make
    a range of whole numbers. overrides: hold for every trial and for the best experiment; trial_overrides:
    for the trials alone, such as fewer epochs or another split.
    sampler: `tpe`, `random` or `grid` (every combination of choices). trials: null means 20, or the whole
    grid. pruner: what prunes unpromising trials, `median`, `halving` or `none`; warmup: epochs before it may.
    folds: every trial is the mean over so many parts of `train` held out in turn; 0 takes `val`.
    """

    name: str = MISSING
    experiment: str = MISSING
    overrides: list[str] = field(default_factory=list)
    trial_overrides: list[str] = field(default_factory=list)
    space: dict[str, Any] = field(default_factory=dict)
    sampler: str = "tpe"
    trials: int | None = None
    pruner: str = "median"
    warmup: int = 3
    folds: int = 0
    seed: int = 0
