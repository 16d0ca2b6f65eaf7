"""Curves over the score, counted by hand."""

import numpy as np
import pytest

from deeprob.metrics.detection import Detection
from deeprob.metrics.detection_operating import (
    calibration_sums,
    curve_of,
    expected_calibration_error,
    metrics_of_sums,
    sums_at,
    thinned,
)


@pytest.fixture(scope="module")
def matches():
    """Two images, four cups, one ball; scores 0.9 right, 0.8 wrong and right, 0.6 right, 0.3 wrong (ball)."""
    cups = np.array([[100.0 * i, 0, 100 * i + 50, 50] for i in range(4)])
    away = np.array([[0.0, 500, 50, 550]])
    stream = Detection(("cup", "ball"))
    stream.update(
        np.concatenate([cups[:2], away]), np.array([0.9, 0.8, 0.8]), np.zeros(3, int),
        cups[:2], np.zeros(2, int),
    )  # fmt: skip
    stream.update(
        np.concatenate([cups[2:3], away]), np.array([0.6, 0.3]), np.array([0, 1]),
        np.concatenate([cups[2:], away + 200]), np.array([0, 0, 1]),
    )  # fmt: skip
    return stream.matches()


def test_detections_of_one_score_are_told_apart_by_no_threshold(matches):
    curve = curve_of(matches)
    np.testing.assert_allclose(curve.score, [0.9, 0.8, 0.6, 0.3])
    np.testing.assert_allclose(curve.precision, [1, 2 / 3, 3 / 4, 3 / 5])
    np.testing.assert_allclose(curve.recall, [1 / 5, 2 / 5, 3 / 5, 3 / 5])
    np.testing.assert_allclose(curve.false_positives_per_image, [0, 0.5, 0.5, 1])
    np.testing.assert_allclose(curve.f1, [2 / 6, 4 / 8, 6 / 9, 6 / 10])


def test_the_best_f1_and_a_recall_have_the_highest_score_that_does(matches):
    cups = curve_of(matches, 0)
    assert cups.score[cups.best_f1()] == 0.6
    assert cups.score[cups.at_recall(0.5)] == 0.8
    assert cups.at_recall(0.9) is None


def test_a_class_of_which_nothing_is_found_has_no_best_f1(matches):
    ball = curve_of(matches, 1)
    assert ball.best_f1() is None
    assert ball.best_f1_score() == np.inf
    assert ball.recall.tolist() == [0]


def test_sums_of_units_give_what_the_curve_says(matches):
    sums = sums_at(matches, np.array([0, 1]), np.array([0.6]), None)[0]
    np.testing.assert_array_equal(sums, [[2, 3, 2, 1], [1, 1, 3, 1]])
    np.testing.assert_allclose(metrics_of_sums(sums.sum(axis=0)), [3 / 4, 3 / 5, 6 / 9, 1 / 2])


def test_the_calibration_error_is_the_distance_of_score_and_precision(matches):
    sums = np.asarray(calibration_sums(matches, np.array([0, 1])).sum(axis=0))
    # of five: 0.9 right; 0.8 twice, one right; 0.6 right; 0.3 wrong
    expected = (0.1 + abs(1.6 - 1) + 0.4 + 0.3) / 5
    assert expected_calibration_error(sums)[0] == pytest.approx(expected)


def test_scores_that_are_no_probabilities_have_no_calibration():
    box = np.array([[0.0, 0, 5, 5]])
    stream = Detection(("cup",))
    stream.update(box, np.array([3.0]), np.array([0]), box, np.array([0]))
    assert calibration_sums(stream.matches(), np.zeros(1, int)) is None


def test_a_curve_is_thinned_to_its_ends_and_what_lies_between(matches):
    assert thinned(curve_of(matches), 2)["score"] == [0.9, 0.3]
    assert len(thinned(curve_of(matches))["recall"]) == 4
