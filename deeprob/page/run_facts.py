"""What every run's report says of the run itself: its cost, its machine, the commands that make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeprob.overrides import shell
from deeprob.page.definitions import DEFINITIONS, title
from deeprob.runs import Run


def cost_rows(cost: Mapping[str, Any]) -> dict[str, str]:
    """What is known of the cost, with units."""
    shown = {
        "parameters": ("{:,.0f}", 1),
        "flops_per_sample": ("{:,.1f} M", 1e-6),
        "train_seconds": ("{:,.1f} s", 1),
        "samples_per_second": ("{:,.0f} / s", 1),
        "peak_memory_bytes": ("{:,.0f} MiB", 2**-20),
    }
    known = {name: cost[name] for name in shown if cost.get(name) is not None}
    return {name: shown[name][0].format(value * shown[name][1]) for name, value in known.items()}


def commands(run: Run, results: Mapping[str, Any]) -> list[str]:
    """The commands that make this run again."""
    overrides = [line for line in text_of(run.overrides).splitlines() if line]
    return [
        " ".join(["deeprob train", *map(shlex.quote, overrides)]),
        f"deeprob evaluate {run.argument} {shell('split', results['split'])}",
        f"deeprob report {run.argument}",
    ]


def machine(run: Run) -> dict[str, Any]:
    """environment.json as text, and one line about the machine."""
    facts = run.read_environment()
    if not facts:
        return {"environment": "", "machine": ""}
    text = text_of(run.environment)
    processor = (
        ", ".join(facts.get("gpus") or []) or f"{facts.get('cpu')}, CPU threads: {facts.get('threads')}"
    )
    return {"environment": text, "machine": f"Measured on {processor}."}


def text_of(path: Path) -> str:
    """What a file holds, nothing where there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def split_name(results: Mapping[str, Any]) -> str:
    """How a sentence calls the split that the results are of."""
    name = str(results["split"])
    return "validation" if name == "val" else name


def curve_caption(name: str) -> str:
    """What a learning curve of any run shows."""
    return {
        "loss": "The objective, averaged over each epoch; each step's value in the background.",
        "gradient_norm": "Length of the gradient of all parameters, before any clipping.",
    }.get(name, f"{title(name)}." if name in DEFINITIONS else name.replace("_", " ").capitalize() + ".")
