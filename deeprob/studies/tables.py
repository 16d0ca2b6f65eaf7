"""A comparison of runs as markdown, CSV, LaTeX and a terminal's table: the same columns everywhere."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from deeprob.metrics.contrasts import Contrast
from deeprob.page.definitions import title
from deeprob.page.pages import fixed, p_value, signed
from deeprob.studies.comparison import Row
from deeprob.writing import plain_cell

LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {c: f"${c}$" for c in "<>|"}
    | {"\\": r"\textbackslash{}", "−": "$-$", "–": "--", "±": r"$\pm$"}
)


def headings(metric: str) -> list[str]:
    """The column names."""
    return [
        "variant",
        title(metric),
        "95 % interval",
        "seeds",
        "difference",
        "95 % interval",
        "p (Holm)",
        "seconds",
        "parameters",
        "n",
    ]


def cells(row: Row) -> list[str]:
    """A row as text: mean ± standard deviation over the seeds, the difference to the base, the cost."""
    value = fixed(row.mean, 4) + (f" ± {row.std:.4f}" if row.std is not None else "")
    d, of_mean = row.difference, row.interval
    return [
        row.name,
        value,
        f"{fixed(of_mean.low, 4)} to {fixed(of_mean.high, 4)}" if of_mean else "–",
        str(len(row.values)),
        signed(d.value, 4) if d else "–",
        f"{signed(d.low, 4)} to {signed(d.high, 4)}" if d else "–",
        p_value(d.p_value) if d else "–",
        f"{row.seconds:,.1f}" if row.seconds is not None else "–",
        f"{row.parameters:,.0f}" if row.parameters is not None else "–",
        f"{row.num_samples:,}" if row.num_samples else "–",
    ]


def failures(rows: Sequence[Row]) -> list[str]:
    """One line for each run that failed."""
    return [f"{row.name}: {error}" for row in rows for error in row.errors]


def markdown(rows: Sequence[Row], metric: str) -> str:
    """A GitHub-flavoured table, failed runs listed below."""
    columns = headings(metric)
    lines = [_joined(columns), _joined(["---"] + ["---:"] * (len(columns) - 1))]
    lines += [_joined([cell.replace("|", "\\|") for cell in cells(row)]) for row in rows]
    failed = failures(rows)
    if failed:
        lines += ["", "Failed:", "", *(f"- {line}" for line in failed)]
    return "\n".join(lines) + "\n"


def comma_separated(rows: Sequence[Row], metric: str) -> str:
    """Unrounded numbers, one line a row; empty where not known."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        [
            "variant",
            metric,
            "mean_low",
            "mean_high",
            "std",
            "seeds",
            "difference",
            "low",
            "high",
            "p_holm",
            "seconds",
            "parameters",
            "n",
            "error",
        ]
    )
    for row in rows:
        d = row.difference
        writer.writerow(
            [plain_cell(row.name), row.mean]
            + ([row.interval.low, row.interval.high] if row.interval else [None] * 2)
            + [row.std, " ".join(map(str, row.values))]
            + ([d.value, d.low, d.high, d.p_value] if d else [None] * 4)
            + [row.seconds, row.parameters, row.num_samples or None, plain_cell("; ".join(row.errors))]
        )
    return file.getvalue()


def effects_markdown(effects: Mapping[str, Contrast]) -> str:
    """A second table with the effects of a factorial design; nothing where there are none."""
    if not effects:
        return ""
    lines = [
        "",
        _joined(["effect", "estimate", "95 % interval", "p (Holm)"]),
        _joined(["---"] + ["---:"] * 3),
    ]
    for name, c in effects.items():
        interval = f"{signed(c.low, 4)} to {signed(c.high, 4)}"
        lines.append(_joined([name, signed(c.value, 4), interval, p_value(c.p_value)]))
    return "\n".join(lines) + "\n"


def effects_comma_separated(effects: Mapping[str, Contrast]) -> str:
    """The effects of a factorial design, unrounded."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["effect", "estimate", "standard_error", "low", "high", "p_holm"])
    for name, c in effects.items():
        writer.writerow([plain_cell(name), c.value, c.standard_error, c.low, c.high, c.p_value])
    return file.getvalue()


def latex(rows: Sequence[Row], metric: str) -> str:
    """A booktabs tabular."""
    columns = headings(metric)
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}", r"\toprule", _row(columns), r"\midrule"]
    lines += [_row(cells(row)) for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def rich_table(rows: Sequence[Row], metric: str, heading: str) -> Table:
    """The table for a terminal of 80 columns: without seeds, parameters and samples, which the files hold."""
    table = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("variant", overflow="fold")
    for column in (title(metric), "difference, 95 %", "p (Holm)", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        name, value, _, _, _, _, p, seconds, *_ = cells(row)
        d = row.difference
        difference = f"{signed(d.value, 4)} ± {d.value - d.low:.4f}" if d else "–"
        failed = row.errors and not row.values
        table.add_row(name, value, difference, p, seconds, style="red" if failed else None)
    return table


def _joined(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _row(texts: Sequence[str]) -> str:
    return " & ".join(text.translate(LATEX) for text in texts) + r" \\"
