"""What a page says of a number is what the number is: each claim beside an example that it decides."""

import numpy as np
import pytest

from deeprob.metrics import classification, pose, pose_matching, segmentation
from deeprob.metrics.pose_matching import Errors, ObjectShape
from deeprob.metrics.ranking import Ranking
from deeprob.page.definitions import DEFINITIONS

K = np.array([[100.0, 0, 4], [0, 100.0, 4], [0, 0, 1]])
POINTS = np.array([[0.1, 0, 0], [-0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1], [0, 0, -0.1]])
TURN = np.diag([-1.0, -1.0, 1.0, 1.0])  # half a turn about z


def says(name, *claims):
    text = " ".join(DEFINITIONS[name].text.split())
    return all(claim in text for claim in claims)


def of_pixels(labels, predicted, num_classes=4):
    sums = segmentation.image_sums(np.array(labels), np.array(predicted), num_classes)
    return dict(zip(segmentation.METRICS, segmentation.metrics_of_sums(sums), strict=True))


def of_samples(labels, predicted, num_classes=4):
    sums = classification.sample_sums(np.eye(num_classes)[predicted], np.array(labels)).sum(axis=0)
    names = classification.metric_names(num_classes)
    return dict(zip(names, classification.metrics_of_sums(np.asarray(sums)), strict=True))


def of_pose(T_est, symmetries, *, depth=True):
    vsd = np.zeros((len(T_est), 1, 10)) if depth else None
    errors = Errors(np.zeros((len(T_est), 1)), np.zeros((len(T_est), 1)), vsd)
    rows, _ = pose_matching.instance_rows(T_est, [np.eye(4)], ObjectShape(POINTS, symmetries), errors)
    found = pose_matching.metrics_of_sums(rows.sum(axis=0))
    return dict(zip(pose_matching.METRICS, found, strict=True))


def test_mean_iou_is_over_the_classes_that_occur_or_are_predicted():
    assert says("miou", "over the classes that occur or are predicted", "the background among them")
    # class 0: 2 of 2; class 1: 1 of 2; class 2 is predicted alone: 0; class 3 is nowhere
    assert of_pixels([[0, 0], [1, 1]], [[0, 0], [2, 1]])["miou"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_mean_class_accuracy_is_over_the_classes_that_occur():
    assert says("mean_class_accuracy", "over the classes that occur of the share")
    assert of_pixels([[0, 0], [1, 1]], [[0, 0], [2, 1]])["mean_class_accuracy"] == pytest.approx(0.75)


def test_pixel_accuracy_counts_labelled_pixels():
    assert says("pixel_accuracy", "labelled pixels")
    assert of_pixels([[0, 255], [255, 1]], [[0, 1], [1, 0]])["pixel_accuracy"] == 0.5


def test_boundary_f1_forgives_a_pixel_and_is_over_classes_that_are_held_or_predicted():
    assert says("boundary_f1", "or a pixel", "over the images that hold or predict it")
    labels, moved, far = np.zeros((9, 9), int), np.zeros((9, 9), int), np.zeros((9, 9), int)
    labels[3:5, 3:5], moved[3:5, 4:6], far[3:5, 6:8] = 1, 1, 1
    assert segmentation.boundary_f1(labels == 1, moved == 1) == 1
    assert segmentation.boundary_f1(labels == 1, far == 1) == 0
    two = np.where(labels, 2, 0)  # class 1 is held alone, class 2 predicted alone, class 3 nowhere
    background = segmentation.boundary_f1(labels == 0, two == 0)
    assert of_pixels(labels, two)["boundary_f1"] == pytest.approx(background / 3)


def test_balanced_accuracy_is_over_the_classes_that_occur():
    assert says("balanced_accuracy", "over the classes that occur of their recall")
    assert of_samples([0, 0, 1, 1], [0, 0, 1, 2])["balanced_accuracy"] == pytest.approx(0.75)


def test_macro_f1_is_over_the_classes_that_occur_or_are_predicted():
    assert says("macro_f1", "over the classes that occur or are predicted")
    assert of_samples([0, 0, 1, 1], [0, 0, 1, 2])["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_a_tie_counts_half_in_the_area_under_a_roc_curve():
    assert says("roc_auc", "a tie counts half")
    assert Ranking(np.array([0.5, 0.5]), np.array([True, False])).areas()[0] == 0.5


def test_the_visible_surface_is_that_of_either_pose():
    assert says("average_recall_vsd", "visible in either pose", "in one pose alone", "in images with depth")
    estimated, true, seen = np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((8, 8))
    estimated[2, 2:6], true[2, 4:8] = 1.0, 1.0  # two pixels in both, two in each alone
    assert pose.vsd(estimated, true, seen, K, 0.2, taus=(0.1,)) == pytest.approx(4 / 6)
    estimated[2, 4] = 1.5  # farther apart than a tenth of the diameter
    assert pose.vsd(estimated, true, seen, K, 0.2, taus=(0.1,)) == pytest.approx(5 / 6)


def test_symmetries_count_for_angles_and_not_for_add():
    assert says("recall_5deg_5cm", "the least over the object's symmetries")
    assert says("rotation_error_deg", "the least over the object's symmetries")
    assert says("add_auc", "Symmetries are not looked at")
    symmetric, plain = of_pose([TURN], np.stack([np.eye(4), TURN])), of_pose([TURN], np.eye(4)[None])
    assert (symmetric["recall_5deg_5cm"], plain["recall_5deg_5cm"]) == (1, 0)
    assert (symmetric["rotation_error_deg"], plain["rotation_error_deg"]) == pytest.approx((0, 180))
    assert symmetric["add_auc"] == plain["add_auc"] < 1
    assert (symmetric["add_or_add_s_auc"], plain["add_or_add_s_auc"]) == (
        pytest.approx(symmetric["add_s_auc"]),
        pytest.approx(plain["add_auc"]),
    )


def test_an_instance_without_an_estimate_is_never_found_and_has_no_angle():
    assert says("add_auc", "an instance without an estimate is never found")
    assert says("rotation_error_deg", "of the instances with an estimate")
    found = of_pose([], np.eye(4)[None])
    assert (found["add_auc"], found["detected"], found["bop_average_recall"]) == (0, 0, 0)
    assert np.isnan(found["rotation_error_deg"])


def test_without_depth_there_is_no_vsd_and_no_average():
    found = of_pose([np.eye(4)], np.eye(4)[None], depth=False)
    assert np.isnan(found["average_recall_vsd"])
    assert np.isnan(found["bop_average_recall"])
    assert found["average_recall_mssd"] == 1
