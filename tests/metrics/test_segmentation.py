"""Segmentation metrics against torchmetrics, scikit-learn and loops written out here."""

import math

import numpy as np
import pytest
import sklearn.metrics

from deeprob.errors import InputError
from deeprob.metrics.segmentation import (
    METRICS,
    TOLERANCE,
    boundary_f1,
    class_iou,
    image_sums,
    metrics_of_sums,
)


def random_pair(seed: int, num_classes: int = 4, shape=(30, 40)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(num_classes, size=(shape[0] // 10, shape[1] // 10))
    labels = np.kron(coarse, np.ones((10, 10), int))
    predicted = np.where(rng.random(shape) < 0.2, rng.integers(num_classes, size=shape), labels)
    return labels, predicted


def by_name(sums: np.ndarray) -> dict[str, float]:
    return dict(zip(METRICS, metrics_of_sums(sums), strict=True))


def test_metrics_equal_scikit_learn_over_all_pixels():
    pairs = [random_pair(seed) for seed in range(3)]
    labels = np.concatenate([a.ravel() for a, _ in pairs])
    predicted = np.concatenate([b.ravel() for _, b in pairs])
    found = by_name(sum(image_sums(a, b, 4) for a, b in pairs))
    assert found["miou"] == pytest.approx(
        sklearn.metrics.jaccard_score(labels, predicted, average="macro"), abs=1e-12
    )
    assert found["pixel_accuracy"] == pytest.approx((labels == predicted).mean(), abs=1e-12)
    assert found["mean_class_accuracy"] == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(labels, predicted), abs=1e-12
    )


def test_class_iou_equals_scikit_learn():
    labels, predicted = random_pair(5)
    expected = sklearn.metrics.jaccard_score(labels.ravel(), predicted.ravel(), average=None)
    np.testing.assert_allclose(class_iou(image_sums(labels, predicted, 4)), expected, rtol=1e-12)


def test_unlabelled_pixels_count_nowhere():
    labels, predicted = random_pair(6)
    masked = labels.copy()
    masked[:10] = 255
    found = by_name(image_sums(masked, predicted, 4))
    assert found["pixel_accuracy"] == pytest.approx((labels[10:] == predicted[10:]).mean())


def test_classes_that_do_not_occur_are_left_out_of_the_mean():
    labels = np.zeros((4, 4), int)
    assert by_name(image_sums(labels, labels, 5))["miou"] == 1
    assert np.isnan(class_iou(image_sums(labels, labels, 5))[1:]).all()


def boundary_f1_by_definition(truth: np.ndarray, predicted: np.ndarray) -> float:
    def boundary(mask):
        points = []
        for y, x in np.argwhere(mask):
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            if any(
                not (0 <= v < mask.shape[0] and 0 <= u < mask.shape[1]) or not mask[v, u] for v, u in around
            ):
                points.append((y, x))
        return points

    def share_near(some, others):
        near = [min(math.hypot(a - c, b - d) for c, d in others) <= reach for a, b in some]
        return sum(near) / len(near)

    reach = max(1.0, TOLERANCE * math.hypot(*truth.shape))
    a, b = boundary(truth), boundary(predicted)
    precision, recall = share_near(b, a), share_near(a, b)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("seed", [0, 1])
def test_boundary_f1_equals_its_definition(seed):
    labels, predicted = random_pair(seed, num_classes=2, shape=(20, 30))
    expected = boundary_f1_by_definition(labels == 1, predicted == 1)
    assert boundary_f1(labels == 1, predicted == 1) == pytest.approx(expected, abs=1e-12)


def test_boundary_f1_of_a_mask_with_itself_is_one():
    mask = np.zeros((20, 20), bool)
    mask[5:12, 3:9] = True
    assert boundary_f1(mask, mask) == 1


def test_a_mask_shifted_beyond_the_tolerance_scores_low():
    mask = np.zeros((60, 60), bool)
    mask[10:30, 10:30] = True
    assert boundary_f1(mask, np.roll(mask, 10, axis=1)) < 0.6


def test_a_mask_without_prediction_scores_nothing():
    mask = np.ones((4, 4), bool)
    assert boundary_f1(mask, np.zeros_like(mask)) == 0


def test_no_pixels_leave_every_metric_undefined():
    assert all(np.isnan(value) for value in by_name(np.zeros(15)).values())


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), r"expected \(H, W\) both"),
        (np.full((2, 2), 7), np.zeros((2, 2), int), "label 7; expected 0 to 2"),
        (np.zeros((2, 2), int), np.full((2, 2), -1), "predicted class -1"),
    ],
)
def test_wrong_input_is_named(labels, predicted, message):
    with pytest.raises(InputError, match=message):
        image_sums(labels, predicted, 3)
