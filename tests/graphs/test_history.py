import json
import re

import pytest

from deeprob.graphs.history import draw_history, history_file, read_history
from deeprob.runs import Run


@pytest.fixture
def run(tmp_path):
    rows = [
        {"step": s, "layers": {"conv": {"gradient": 10.0**-s, "activation": 1.0}, "fc": {"gradient": 1.0}}}
        for s in (0, 2, 4)
    ]
    run = Run(tmp_path)
    history_file(run).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def test_rows_are_read_in_order_without_the_broken_and_the_repeated(run):
    with history_file(run).open("a") as file:
        file.write('{"step": 2, "layers": {"conv": {"gradient": 5.0}}}\n{"step": 6, "lay')
    samples = read_history(run)
    assert [s.step for s in samples] == [0, 2, 4]
    assert samples[1].layers["conv"]["gradient"] == 5.0


def test_a_run_without_the_callback_has_no_history(tmp_path):
    assert read_history(Run(tmp_path)) == []


def test_the_picture_has_a_cell_a_layer_and_step_darker_where_it_is_larger(run):
    picture = draw_history(read_history(run), "flow")
    cells = dict(re.findall(r'd="([^"]+)" fill="[^"]+" fill-opacity="([\d.]+)"', picture))
    assert sum(path.count("M") for path in cells) == 6
    counts = {float(shade): path.count("M") for path, shade in cells.items()}
    assert counts[1.0] == 4  # the last layer, and the first one before it faded
    assert min(counts) == 0.05
    assert "step 0 to 4, 3 samples" in picture


def test_missing_gradients_leave_cells_empty(run):
    history_file(run).write_text('{"step": 0, "layers": {"a": {"gradient": null}, "b": {"gradient": 0.0}}}\n')
    assert "fill-opacity" not in draw_history(read_history(run), "flow")
