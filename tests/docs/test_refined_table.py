"""The table of refinement in docs/renderer.md is the committed one."""

import csv
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
METRICS = {
    "add_or_add_s_recall": "ADD(-S) recall",
    "recall_5deg_5cm": "5 degrees, 5 cm",
    "average_recall_mspd": "AR MSPD",
    "average_recall_mssd": "AR MSSD",
}


def test_the_document_shows_the_measured_rows():
    text = (DOCS / "renderer.md").read_text(encoding="utf-8")
    with (DOCS / "examples/renderer/refined_lmo.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(METRICS)
    for row in rows:
        gain, low, high = (f"{float(row[name]):+.3f}" for name in ("gain", "low", "high"))
        cells = f"| {METRICS[row['metric']]} | {row['before']} | {row['after']} | {gain} | {low} to {high} |"
        assert cells in text
        assert f"{row['targets']} targets" in text
