"""Crops around detections in place of the true boxes."""

import json

import pytest

from deeprob.errors import InputError
from deeprob.evaluation.evaluate import evaluate_run
from deeprob.runs import Run


@pytest.fixture
def run(run_of, tmp_path):
    """A copy of the small pose run."""
    import shutil

    shutil.copytree(run_of("pose").path, tmp_path / "run")
    return Run(tmp_path / "run")


def true_boxes(run):
    """The true boxes of its validation frames, as a detector's file, the surer one first in each frame."""
    from deeprob.training.experiment import read_config
    from deeprob.training.sources import make_data

    source = make_data(read_config(run)).source
    entries = []
    for frame in source.frames("val"):
        for number, i in enumerate(frame.instances):
            left, top, right, bottom = i.box_xyxy
            box = [left + 0.5, top + 0.5, right - left, bottom - top]
            name = source.classes[i.class_id]
            score = 0.9 - 0.1 * number
            entries.append({"image_id": frame.key, "category_id": name, "bbox": box, "score": score})
    return entries


def test_true_boxes_from_a_file_give_the_same_numbers(run, tmp_path):
    before = run.read_results()["metrics"]
    file = tmp_path / "boxes.json"
    entries = true_boxes(run)
    file.write_text(json.dumps([{**e, "bbox": e["bbox"]} for e in entries]))
    found = evaluate_run(run, progress=False, boxes=str(file))
    assert found["split"] == "val-boxes"
    assert (run.path / "results_val-boxes.json").is_file()
    assert (run.path / "predictions_val-boxes.csv").is_file()
    assert found["metrics"]["detected"]["value"] == pytest.approx(before["detected"]["value"], abs=0.2)
    assert found["metrics"]["detected"]["n"] == before["detected"]["n"]


def test_a_missing_file_and_a_run_without_boxes_are_one_line(run, tmp_path):
    with pytest.raises(InputError, match=r"no such file"):
        evaluate_run(run, progress=False, boxes=str(tmp_path / "none.json"))
    (tmp_path / "detector").mkdir()
    with pytest.raises(InputError, match=r"no boxes of split 'val'.*deeprob evaluate run="):
        evaluate_run(run, progress=False, boxes=str(tmp_path / "detector"))
