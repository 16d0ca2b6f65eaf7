"""What a meter of boxes says beside the metrics."""

import numpy as np
import pytest

from deeprob.data.frame import Frame, Instance
from deeprob.data.predictions.files import Box
from deeprob.evaluation.report import write_page
from deeprob.metrics.entries import measured
from deeprob.tasks.detection.meter import CROWDS
from deeprob.tasks.detection.task import Detection
from deeprob.tasks.frames import evaluate_frames

CLASSES = ("cup", "ball")


class Set:
    classes, name, real, box_convention = CLASSES, "set", True, "visible"


def frame(number, objects=((0, (10, 10, 40, 40)),), crowds=()):
    made = [
        tuple(Instance(c, np.array(box, float)) for c, box in of) for of in (objects, crowds)
    ]  # fmt: skip
    return Frame(
        np.full((80, 100, 3), 90, np.uint8), made[0], "set", f"f{number}", f"g{number // 3}", crowds=made[1]
    )


def evaluated(frames, answers, **options):
    def answer(index, _):
        return [Box(c, score, np.array(box, float)) for c, box, score in answers[index]]

    return evaluate_frames(Detection, Set, frames, "frame", answer, {}, samples=30, seed=0, **options)


RIGHT = (0, (10, 10, 40, 40), 0.9)
WRONG = (1, (60, 10, 90, 40), 0.8)


@pytest.fixture(scope="module")
def evaluation():
    """Four recordings of three frames with a cup each; ten are found, and two balls that are not there."""
    answers = [[RIGHT]] * 8 + [[RIGHT, WRONG]] * 2 + [[]] * 2
    return evaluated([frame(i) for i in range(12)], answers)


@pytest.fixture(scope="module")
def page_of():
    """The results of an evaluation of objects of many sizes as a page takes them, and what it shows."""
    frames = [frame(i, objects=((0, (10, 10, 40 + i % 20, 40)),)) for i in range(40)]
    evaluation = evaluated(frames, [[RIGHT, WRONG]] * 39 + [[]])
    results = {
        "predictions": "found.json",
        "split": "val",
        "data": {"source": "set", "real": True, "val": 40},
    }
    shown = {"drawings": evaluation.drawings, "worst": evaluation.worst}
    return results | measured(evaluation, samples=30, seed=0), shown


def test_the_operating_points_are_those_of_the_boxes(evaluation):
    points = evaluation.more["operating_points"]
    best = points["all classes"]["best_f1"]
    assert best["score"] == 0.9
    assert (best["precision"]["value"], best["recall"]["value"]) == (1, pytest.approx(10 / 12))
    assert points["all classes"]["recall_90"] is None
    assert points["all classes"]["highest_recall"] == pytest.approx(10 / 12)
    assert set(points) == {"all classes", "cup"}


def test_intervals_of_operating_points_hold_their_values(evaluation):
    recall = evaluation.more["operating_points"]["cup"]["best_f1"]["recall"]
    assert recall["ci95"][0] < recall["value"] < recall["ci95"][1]


def test_errors_are_counted_at_every_score_and_at_the_operating_point(evaluation):
    kinds = evaluation.more["error_kinds"]
    assert (kinds["background"]["ap50_cost"]["n"], kinds["background"]["at_best_f1"]) == (2, 0)
    assert (kinds["missed"]["ap50_cost"]["n"], kinds["missed"]["at_best_f1"]) == (2, 2)
    # 10 of 12 found is 84 of 101 recalls
    assert kinds["missed"]["ap50_cost"]["value"] == pytest.approx(17 / 101)


def test_scores_are_calibrated_as_far_as_they_say(evaluation):
    error = evaluation.more["calibration"]["detection_calibration_error"]
    assert error["value"] == pytest.approx((10 * 0.1 + 2 * 0.8) / 12)


def test_the_worst_are_the_frames_with_the_most_mistakes(evaluation):
    assert [shown["key"] for shown in evaluation.worst] == ["f10", "f11"]
    assert evaluation.worst[0]["said"] == "1 of 1 missed, 0 wrong"


def test_the_worst_are_found_again_where_only_some_frames_are_evaluated():
    frames = [frame(i) for i in range(6)]
    evaluation = evaluated(frames, [[RIGHT]] * 5 + [[WRONG]], keys={"f4", "f5"})
    assert [shown["key"] for shown in evaluation.worst] == ["f5"]


def test_a_perfect_detector_has_no_interval_of_its_average_precision():
    entry = measured(evaluated([frame(i) for i in range(6)], [[RIGHT]] * 6), samples=30, seed=0)["metrics"]
    assert entry["mean_ap"] == {"value": pytest.approx(1), "ci95": None, "n": 6}


def test_nothing_found_at_all_has_no_operating_point():
    evaluation = evaluated([frame(i) for i in range(4)], [[]] * 4)
    assert evaluation.more["operating_points"]["all classes"]["best_f1"] is None
    assert "calibration" not in evaluation.more
    assert evaluation.more["error_kinds"]["missed"]["ap50_cost"]["n"] == 4
    assert len(evaluation.worst) == 4


def test_the_note_about_crowds_stands_where_there_are_some():
    frames = [frame(i, crowds=((0, (50, 50, 70, 70)),)) for i in range(2)]
    assert CROWDS in evaluated(frames, [[RIGHT]] * 2).notes
    assert CROWDS not in evaluated([frame(i) for i in range(2)], [[RIGHT]] * 2).notes
    assert "of its class" in CROWDS


def test_merged_meters_keep_their_frames_and_crowds():
    frames = [frame(i, crowds=((0, (50, 50, 70, 70)),) * i) for i in range(2)]
    parts = [Detection.frame_meter(Set, "frame") for _ in frames]
    for i, part in enumerate(parts):
        part.add(i, frames[i], [])
    parts[0].merge(parts[1])
    evaluation = parts[0].evaluation(samples=10, seed=0, frames=frames, answer=lambda *_: [])
    assert CROWDS in evaluation.notes
    assert [shown["key"] for shown in evaluation.worst] == ["f0", "f1"]


def test_the_blocks_of_boxes_stand_on_the_page(page_of, tmp_path):
    page = Detection.frame_page(*page_of)
    text = write_page(tmp_path, page_of[0], Detection, page, "deeprob evaluate").read_text()
    for heading in ("Kinds of errors", "Operating points", "Error slices", "Worst first"):
        assert f">{heading}</h2>" in text
    assert text.count("Reliability diagram") == 1
    linked = {part.split('"')[0] for part in text.split('href="#')[1:]}
    assert {"def-error_localisation", "def-recall_at_best_f1", "def-slices"} <= linked
    assert all(f'id="{name}"' in text for name in linked)


def test_results_of_an_earlier_version_have_a_page_without_the_blocks(page_of):
    old = {k: v for k, v in page_of[0].items() if k not in ("error_kinds", "operating_points", "slices")}
    shown = {"drawings": {"precision_recall": ("", "")}, "worst": []}
    assert [block.id for block in Detection.frame_page(old, shown).blocks] == ["classes"]
