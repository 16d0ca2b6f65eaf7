"""What a report shows of pose errors."""

import numpy as np
import pytest

from deeprob.metrics.pose_matching import PARTS
from deeprob.tasks.pose.analysis import curves, errors_apart, errors_of
from deeprob.tasks.pose.task import Pose


@pytest.fixture
def rows():
    """Four instances, turned by 10, 20, 30 and off by 1, 2, 3 cm; the last has no estimate."""
    found = np.zeros((4, len(PARTS)))
    found[:, PARTS.index("n")] = 1
    for i in range(3):
        found[i, PARTS.index("found")] = 1
        found[i, PARTS.index("rotation_deg")] = 10 * (i + 1)
        found[i, PARTS.index("translation_m")] = 0.01 * (i + 1)
        found[i, PARTS.index("add_or_add_s")] = found[i, PARTS.index("add_s")] = 0.9 - 0.1 * i
    return found


def test_a_missed_instance_is_infinitely_wrong(rows):
    angle, distance = errors_of(rows)
    assert angle.tolist() == [10, 20, 30, np.inf]
    assert distance.tolist() == pytest.approx([1, 2, 3, np.inf])


def test_errors_are_cut_by_what_they_may_depend_on(rows):
    parts = {"object": [("cup", np.array([True, True, True, False])), ("tin", np.arange(4) == 3)]}
    (cup,) = errors_apart(rows, parts)["object"]  # of the tin nothing is known
    assert cup["n"] == 3
    assert cup["rotation_deg"] == [15, 20, 25]
    assert cup["translation_cm"] == pytest.approx([1.5, 2, 2.5])


def test_curves_tell_rotation_and_translation_apart(rows):
    drawn = curves(rows)
    assert drawn.keys() == {"recall", "rotation", "translation"}
    assert "0.250 at 12" in drawn["rotation"][0]  # one of four is turned by less than 12 degrees
    assert "0.750 at 60" in drawn["rotation"][0]


def test_a_report_of_an_earlier_version_shows_what_it_knows():
    known = {"value": 0.5, "ci95": None, "n": 3}
    results = {
        "split": "test",
        "data": {"test": 3, "source": "cups"},
        "metrics": {name: known for name in Pose.headlines},
        "baselines": {},
        "per_class": {"cup": {"n": 3, "add_or_add_s_recall": known, "rotation_error_deg": known}},
    }
    page = Pose.frame_page(results, {"drawings": {}, "worst": []})
    assert page.blocks[0].context["per_class"] == ["add_or_add_s_recall"]
    assert [block.id for block in page.blocks] == ["classes"]
