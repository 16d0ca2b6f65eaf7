"""metrics.jsonl: the run's own record, append-only, whatever other logger is on."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from deeprob.runs import Run
from deeprob.writing import append_line, write_text


class JsonlLogger(Logger):
    """Appends one JSON object a call: {"step", "epoch", <metric>: value, ...}. A NaN is written as null."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    @property
    def name(self) -> str:
        return self.run.experiment

    @property
    def version(self) -> str:
        return self.run.run_id

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run folder's config.yaml already holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        row: dict[str, Any] = {"step": step}
        row.update({k: v if math.isfinite(v) else None for k, v in metrics.items()})
        if isinstance(row.get("epoch"), float):
            row["epoch"] = int(row["epoch"])
        append_line(self.run.metrics, json.dumps(row))

    def forget_after(self, step: int) -> None:
        """Drop the rows past `step`: they belong to work that a resumed run does again."""
        if not self.run.metrics.is_file():
            return
        rows = [r for r in self.run.read_metrics() if step and (r.get("step") is None or r["step"] < step)]
        write_text(self.run.metrics, "".join(json.dumps(row) + "\n" for row in rows))
