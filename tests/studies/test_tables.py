import csv
import io

import pytest
from rich.console import Console

from deeprob.metrics.contrasts import Contrast
from deeprob.studies import tables
from deeprob.studies.comparison import Row

ROWS = [
    Row(
        "base",
        {0: 0.9, 1: 0.92},
        Contrast(0.91, 0.01, 0.88, 0.94, 0.0),
        seconds=31.25,
        parameters=12345,
        num_samples=240,
    ),
    Row(
        "half|width_50%",
        {0: 0.8},
        difference=Contrast(-0.1, 0.02, -0.14, -0.06, 0.0002),
        num_samples=240,
    ),
    Row("broken", errors=("seed 0: ValueError: lr",)),
]


def test_markdown_has_one_line_a_row_and_the_failures_below():
    lines = tables.markdown(ROWS, "top1_accuracy").splitlines()
    assert lines[2] == "| base | 0.9100 ± 0.0141 | 0.8800 to 0.9400 | 2 | – | – | – | 31.2 | 12,345 | 240 |"
    assert (
        lines[3]
        == "| half\\|width_50% | 0.8000 | – | 1 | −0.1000 | −0.1400 to −0.0600 | < 0.001 | – | – | 240 |"
    )
    assert lines[-1] == "- broken: seed 0: ValueError: lr"


def test_csv_keeps_every_digit_and_leaves_the_unknown_empty():
    base, half, broken = csv.DictReader(io.StringIO(tables.comma_separated(ROWS, "top1_accuracy")))
    assert float(base["top1_accuracy"]) == pytest.approx(0.91, abs=1e-15)
    assert (float(base["mean_low"]), half["mean_low"]) == (0.88, "")
    assert (base["difference"], base["seeds"]) == ("", "0 1")
    assert float(half["p_holm"]) == 0.0002
    assert (broken["top1_accuracy"], broken["error"]) == ("", "seed 0: ValueError: lr")


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-x", "@SUM(A1)", "\t=1"])
def test_a_name_is_no_formula_of_a_spreadsheet(name):
    (row,) = csv.DictReader(io.StringIO(tables.comma_separated([Row(name, {0: -0.5})], "loss")))
    assert (row["variant"], row["loss"]) == (f"'{name}", "-0.5")
    (row,) = csv.DictReader(
        io.StringIO(tables.effects_comma_separated({name: Contrast(-0.1, 0.02, -0.14, -0.06, 0.0002)}))
    )
    assert (row["effect"], row["estimate"]) == (f"'{name}", "-0.1")


def test_latex_escapes_what_would_not_compile():
    lines = tables.latex(ROWS, "top1_accuracy").splitlines()
    assert lines[5].startswith(r"half$|$width\_50\% & 0.8000 & -- & 1 & $-$0.1000 & ")
    assert r"$<$ 0.001" in lines[5]
    assert all(line.count("&") - line.count(r"\&") == 9 for line in lines[2:3] + lines[4:7])


def test_the_terminal_table_shows_every_variant_within_eighty_columns():
    output = io.StringIO()
    Console(file=output, width=80).print(tables.rich_table(ROWS, "top1_accuracy", "ablation"))
    text = output.getvalue()
    assert all(row.name in text for row in ROWS)
    assert "−0.1000 ± 0.0400" in text
    assert "…" not in text
