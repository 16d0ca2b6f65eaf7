"""What a comparison of runs found, written as a page, tables and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deeprob.metrics.contrasts import Contrast
from deeprob.page import drawing, figures, pages
from deeprob.page.definitions import title
from deeprob.studies import tables
from deeprob.studies.comparison import Row
from deeprob.writing import write_text

CLEAR = 0.05  # corrected p-value below which a difference is called clear
MOST_DRAWN = 100  # of a figure's rows
TERMS = ("std", "over_seeds", "p_value_over_seeds", "train_seconds", "parameters", "n")


@dataclass(frozen=True)
class Findings:
    """rows: one a group of runs; changes: group -> its overrides; effects: of a design, by name.

    curves: of a grid, column -> row -> group.
    """

    metric: str
    base: str
    rows: Sequence[Row]
    changes: Mapping[str, Sequence[str]]
    effects: Mapping[str, Contrast] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def write_findings(
    findings: Findings, folder: Path, name: str, *, heading: str, kicker: str, command: str
) -> Path:
    """Write <name>.html, table.md, .csv and .tex, and where there is one effects.csv and the figures."""
    rows, metric = findings.rows, findings.metric
    drawings = {
        "difference": _chart(
            {row.name: row.difference for row in rows if row.difference},
            f"{title(metric)}, difference from {findings.base}",
            "difference",
        ),
        "effects": _chart(findings.effects, f"effect on {title(metric).lower()}", "effects"),
        "curves": _curves(findings),
    }
    write_text(folder / "table.md", tables.markdown(rows, metric) + tables.effects_markdown(findings.effects))
    write_text(folder / "table.csv", tables.comma_separated(rows, metric))
    write_text(folder / "table.tex", tables.latex(rows, metric))
    if findings.effects:
        write_text(folder / "effects.csv", tables.effects_comma_separated(findings.effects))
    drawing.write_drawings(folder, drawings)
    context = {
        "heading": heading,
        "kicker": kicker,
        "abstract": _abstract(findings),
        "metric": metric,
        "base": findings.base,
        "rows": rows,
        "changes": findings.changes,
        "effects": findings.effects,
        "drawings": drawings,
        "one_seed": any(len(row.values) == 1 for row in rows),
        "failures": tables.failures(rows),
        "command": command,
        "folder": folder,
    }
    path = folder / f"{name}.html"
    terms = [metric, *TERMS, *(["effects"] if findings.effects else [])]
    write_text(path, pages.render("comparison.html.j2", terms, context))
    return path


def _abstract(findings: Findings) -> str:
    """Say in words what the table shows."""
    base = next(row for row in findings.rows if row.name == findings.base)
    if base.mean is None:
        return f"{findings.base} {'failed' if base.errors else 'is not run yet'}, so nothing can be compared."
    seeds = "one seed" if len(base.values) == 1 else f"{len(base.values)} seeds"
    text = f"{title(findings.metric)} of {base.name} is {base.mean:.4f}, from {seeds}. "
    compared = {row.name: row.difference for row in findings.rows if row.difference is not None}
    if not compared:
        return text + "No other group was tested on the same samples."
    clear = sorted((d.value, name) for name, d in compared.items() if d.p_value < CLEAR)
    if not clear:
        return text + f"None of the others differs from it clearly (corrected p at least {CLEAR})."
    named = ", ".join(f"{name} ({pages.signed(value, 4)})" for value, name in clear)
    return text + f"Clearly different (corrected p below {CLEAR}): {named}."


def _curves(findings: Findings) -> str:
    """The metric over the rows of a grid, a line a column; nothing for other designs."""
    of_group = {row.name: row for row in findings.rows}
    lines: dict[str, dict[str, tuple[float, float, float]]] = {}
    for column, groups in findings.curves.items():
        for name, group in groups.items():
            row = of_group[group]
            if row.mean is not None and row.interval is not None:
                lines.setdefault(column, {})[name] = row.mean, row.interval.low, row.interval.high
    rows = [name for groups in findings.curves.values() for name in groups]
    return figures.grid_curves(list(dict.fromkeys(rows)), lines, title(findings.metric)) if lines else ""


def _chart(contrasts: Mapping[str, Contrast], label: str, name: str) -> str:
    """Contrasts with their intervals around 0, the MOST_DRAWN largest; nothing where there are none."""
    kept = sorted(contrasts, key=lambda row: -abs(contrasts[row].value))[:MOST_DRAWN]
    entries = [(row, c.value, (c.low, c.high)) for row, c in contrasts.items() if row in kept]
    return figures.intervals_chart(entries, label, zero=True, name=name) if entries else ""
