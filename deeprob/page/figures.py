"""The charts of reports: learning curves, reliability, intervals, robustness."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.page.drawing import INK, LONGEST_NAME, MUTED, SERIES, add_legend, new_figure, style, to_svg

Points = Sequence[tuple[float, float]]


def learning_curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """One figure for each quantity in metrics.jsonl: name -> SVG; training and validation in the same one."""
    x_of_step, x_label = _x_axis(rows)
    panels: dict[str, dict[str, Points]] = {}
    for row in rows:
        for key, value in row.items():
            if key in ("step", "epoch") or not isinstance(value, int | float) or row.get("step") is None:
                continue
            stage, _, name = key.partition("/") if key.startswith(("train/", "val/")) else ("", "", key)
            quantity = name.removesuffix("_epoch").removesuffix("_step")
            label = "each step" if name.endswith("_step") else stage
            points = panels.setdefault(quantity, {}).setdefault(label, [])
            points.append((x_of_step * (row["step"] + 1), float(value)))  # type: ignore[attr-defined]
    figures = {}
    for quantity in sorted(panels, key=lambda q: (q != "loss", len(panels[q]) < 2, q)):
        series = panels[quantity]
        title = quantity.replace("_", " ").replace("lr-", "learning rate, ").replace("top1", "top-1")
        figure, axes = new_figure()
        for label in sorted(series, key=lambda name: (name != "each step", name)):
            points = sorted(series[label])
            xs, ys = [x for x, _ in points], [y for _, y in points]
            colour = SERIES[1] if label == "val" else SERIES[0]
            faint = label == "each step"
            axes.plot(
                *(xs, ys),
                color=colour,
                alpha=0.3 if faint else 1,
                linewidth=0.8 if faint else 1.6,
                label={"val": "validation", "train": "training"}.get(label, label),
                marker="o" if len(points) == 1 else None,
            )
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel(x_label)
        axes.set_ylabel(title)
        if len(series) > 1:
            add_legend(axes)
        ends = "; ".join(f"{label or title} ends at {points[-1][1]:.4g}" for label, points in series.items())
        figures[quantity] = to_svg(figure, f"curve-{quantity}", f"{title} over {x_label}s: {ends}.")
    return figures


def reliability_diagram(
    count: NDArray[np.float64], confidence: NDArray[np.float64], accuracy: NDArray[np.float64]
) -> str:
    """Accuracy over confidence, float64 (bins,) each, with the samples of each bin below."""
    figure, axes = new_figure(height=3.6)
    axes.remove()
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    filled = count > 0
    edges = np.linspace(0, 1, len(count) + 1)
    width = edges[1]
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="perfectly calibrated")
    upper.bar(edges[:-1][filled] + width / 2, accuracy[filled], width * 0.92, color=SERIES[0], alpha=0.25)
    upper.plot(confidence[filled], accuracy[filled], "o-", color=SERIES[0], markersize=4, label="model")
    upper.set_ylim(0, 1.02)
    upper.set_xlim(0, 1)
    upper.set_ylabel("accuracy")
    lower.bar(edges[:-1] + width / 2, count, width * 0.92, color=MUTED)
    lower.set_ylabel("samples")
    lower.set_xlabel("confidence")
    for each in (upper, lower):
        style(each)
    add_legend(upper)
    worst = int(np.nanargmax(np.where(filled, np.abs(accuracy - confidence) * count, -1)))
    text = (
        f"Reliability diagram: accuracy over confidence in {int(filled.sum())} bins that hold samples. The"
        f" bin that adds most to the error has mean confidence {confidence[worst]:.2f} and accuracy "
        f"{accuracy[worst]:.2f}, {int(count[worst])} samples."
    )
    return to_svg(figure, "reliability", text)


def intervals_chart(
    entries: Sequence[tuple[str, float, Sequence[float] | None]],
    label: str,
    *,
    zero: bool = False,
    name: str,
    lead: bool = True,
) -> str:
    """Values with their intervals, one row each: (row name, value, (low, high) or None).

    zero: mark 0. lead: the first row stands out. Names too long for a line are broken.
    """
    from matplotlib.ticker import MaxNLocator

    names = [textwrap.wrap(row, LONGEST_NAME) for row, _, _ in entries]
    lines = max(map(len, names), default=1)
    figure, axes = new_figure(height=0.75 + max(0.32, 0.08 + 0.15 * lines) * len(entries))
    for i, (_, value, interval) in enumerate(entries):
        colour = SERIES[1] if zero else MUTED if lead and i > 0 else SERIES[0]
        if interval is not None:
            axes.plot(list(interval), [i, i], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([value], [i], "o", color=colour, markersize=6)
    if zero:
        axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(entries)), ["\n".join(name) for name in names])
    axes.set_ylim(len(entries) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))  # long labels such as −0.175 must not touch
    axes.set_xlabel(label)
    rows = "; ".join(
        f"{row} {value:.4g}" + (f" ({interval[0]:.4g} to {interval[1]:.4g})" if interval is not None else "")
        for row, value, interval in entries
    )
    return to_svg(figure, name, f"{label} with 95 % intervals: {rows}.")


def robustness_curves(clean: float, corrupted: Mapping[str, Sequence[float]], label: str) -> str:
    """The metric called `label` over severity, one line a corruption: clean at 0, then each severity's."""
    figure, axes = new_figure(height=3.4)
    for i, (name, values) in enumerate(corrupted.items()):
        axes.plot(
            range(len(values) + 1),
            [clean, *values],
            color=SERIES[i % len(SERIES)],
            linestyle=("-", (0, (4, 2)))[i // len(SERIES) % 2],
            marker="os^Dvx"[i % 6],
            markersize=4,
            label=name.replace("_", " "),
        )
    axes.set_ylim(0, 1)
    axes.set_xlabel("severity")
    axes.set_ylabel(label)
    add_legend(axes)
    ends = "; ".join(f"{name.replace('_', ' ')} {values[-1]:.3f}" for name, values in corrupted.items())
    text = f"{label} over severity of corruption, {clean:.3f} without. At the highest severity: {ends}."
    return to_svg(figure, "robustness", text)


def grid_curves(
    rows: Sequence[str], lines: Mapping[str, Mapping[str, tuple[float, float, float]]], label: str
) -> str:
    """Values over named rows, side by side: line -> row -> (value, low, high of its interval)."""
    figure, axes = new_figure(height=3.6)
    told = []
    for i, (name, values) in enumerate(lines.items()):
        shift = 0.08 * (i - (len(lines) - 1) / 2)  # intervals of one row must not hide each other
        places = [rows.index(row) + shift for row in values]
        middle = [value for value, _, _ in values.values()]
        errors = [[value - low, high - value] for value, low, high in values.values()]
        axes.errorbar(
            places,
            middle,
            [list(side) for side in zip(*errors, strict=True)],
            color=SERIES[i % len(SERIES)],
            linestyle=("-", (0, (4, 2)))[i // len(SERIES) % 2],
            marker="o",
            markersize=4,
            linewidth=1.6,
            label=name,
        )
        told += [
            f"{name} at {row} {v:.4g} ({low:.4g} to {high:.4g})" for row, (v, low, high) in values.items()
        ]
    axes.set_xticks(range(len(rows)), list(rows))
    axes.set_ylabel(label)
    add_legend(axes)
    return to_svg(figure, "curves", f"{label} with 95 % intervals: {'; '.join(told)}.")


def _x_axis(rows: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    """Factor from steps to what the x axis counts: epochs where the last validation tells their length."""
    ends = [r for r in rows if isinstance(r.get("epoch"), int) and any(k.startswith("val/") for k in r)]
    if not ends or ends[-1].get("step") is None:
        return 1.0, "step"
    return (ends[-1]["epoch"] + 1) / (ends[-1]["step"] + 1), "epoch"
