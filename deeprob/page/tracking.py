"""A run's results, figures and tables for W&B, where the run's own logger has it open."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from deeprob.page.drawing import standalone
from deeprob.runs import Run


def track(run: Run, results: Mapping[str, Any], drawings: Mapping[str, str]) -> bool:
    """Add results to the W&B run that training opened in this process; False where there is none of `run`.

    What was logged offline is sent with the run, by `wandb sync`. W&B is not imported where nothing used it.
    """
    wandb = sys.modules.get("wandb")
    current = getattr(wandb, "run", None)
    if wandb is None or current is None or current.id != f"{run.experiment}-{run.run_id}":
        return False
    split = results["split"]
    for metric, entry in results["metrics"].items():
        current.summary[f"{split}/{metric}"] = entry["value"]
        if entry["ci95"]:
            current.summary[f"{split}/{metric}_low"], current.summary[f"{split}/{metric}_high"] = entry[
                "ci95"
            ]
    columns = ["class", "n"]
    rows = []
    for name, entries in results["per_class"].items():
        measured = {metric: entry["value"] for metric, entry in entries.items() if metric != "n"}
        columns = ["class", "n", *measured]
        rows.append([name, entries["n"], *measured.values()])
    tables = {f"{split}/per_class": wandb.Table(columns=columns, data=rows)}
    slices = [
        [kind, entry["label"], entry["n"], entry["value"], *(entry["ci95"] or (None, None))]
        for kind, entries in results.get("slices", {}).items()
        for entry in entries
    ]
    if slices:
        columns = ["kind", "slice", "n", results.get("sliced", "value"), "low", "high"]
        tables[f"{split}/slices"] = wandb.Table(columns=columns, data=slices)
    pictures = {f"figures/{k}": wandb.Html(standalone(v), inject=False) for k, v in drawings.items() if v}
    current.log({**tables, **pictures})
    return True
