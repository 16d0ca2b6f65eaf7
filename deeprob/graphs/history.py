"""The flow of a training over time: gradient_flow.jsonl of a run folder, read back and drawn."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from deeprob.graphs.picture import CHARACTER, frame, number
from deeprob.runs import Run

FILE = "gradient_flow.jsonl"
WIDTH, ROW = 560.0, 15.0  # pixels
MOST_COLUMNS, SHADES = 140, 20  # sampled steps that are drawn, and how many shades tell them apart


@dataclass(frozen=True)
class Sample:
    """One sampled step: layer -> {"activation", "gradient", and where it applies "dead", "saturated"}."""

    step: int
    layers: dict[str, dict[str, float | None]]


def history_file(run: Run) -> Path:
    """Where the callback writes, one JSON object a sampled step."""
    return run.path / FILE


def read_history(run: Run) -> list[Sample]:
    """The sampled steps in order; a row cut off by a kill is left out, a step done twice counts once."""
    path = history_file(run)
    if not path.is_file():
        return []
    found: dict[int, Sample] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError, KeyError, TypeError, ValueError):
            row: dict[str, Any] = json.loads(line)
            found[int(row["step"])] = Sample(int(row["step"]), dict(row["layers"]))
    return [found[step] for step in sorted(found)]


def draw_history(samples: Sequence[Sample], title: str) -> str:
    """Return an SVG: a row a layer, a column a sampled step, darker where the gradient's norm is larger."""
    if len(samples) > MOST_COLUMNS:
        stride = math.ceil(len(samples) / MOST_COLUMNS)
        samples = samples[::stride]
    names = list(dict.fromkeys(name for sample in samples for name in sample.layers))
    logs = {
        (sample.step, name): math.log10(gradient)
        for sample in samples
        for name in names
        if (gradient := sample.layers.get(name, {}).get("gradient")) and math.isfinite(gradient)
    }
    low, high = min(logs.values(), default=0.0), max(logs.values(), default=1.0)
    left = 24 + CHARACTER * max((len(name) for name in names), default=4) + 8
    cell = WIDTH / max(1, len(samples))
    parts = []
    shades: dict[int, str] = {}  # one path a shade: a file a tenth the size of one rectangle a cell
    for i, name in enumerate(names):
        y = 44 + ROW * i
        parts.append(
            f'<text x="{left - 8:.1f}" y="{y + 11:.1f}" style="text-anchor:end">{escape(name)}</text>'
        )
        for j, sample in enumerate(samples):
            value = logs.get((sample.step, name))
            if value is not None:
                share = (value - low) / (high - low) if high > low else 1.0
                shade = 1 + round(share * (SHADES - 1))
                path = f"M{left + j * cell:.1f},{y:.0f}h{cell + 0.3:.1f}v{ROW - 1:.0f}h-{cell + 0.3:.1f}z"
                shades[shade] = shades.get(shade, "") + path
    for shade, path in sorted(shades.items()):
        parts.append(f'<path d="{path}" fill="var(--gradient)" fill-opacity="{shade / SHADES:.2f}"/>')
    steps = f"step {samples[0].step} to {samples[-1].step}" if samples else "no step"
    parts.append(f'<text x="{left + WIDTH / 2:.1f}" y="32">{steps}, {len(samples)} samples</text>')
    scale = f"gradient norm of a layer's output, from {number(10**low)} (pale) to {number(10**high)} (full)"
    legend = [("g", f"{scale}; logarithmic"), ("small", "empty: no gradient, or not finite")]
    return frame(parts, left + WIDTH + 24, 52 + ROW * len(names), title, legend)
