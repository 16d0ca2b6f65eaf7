"""Classification metrics against scikit-learn, torchmetrics and formulas written out here."""

import numpy as np
import pytest
import sklearn.metrics
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from deeprob.errors import InputError
from deeprob.metrics.classification import (
    NUM_BINS,
    Classification,
    class_ratios,
    metric_names,
    reliability,
    sample_sums,
    softmax,
)


def random_predictions(num_classes: int, count: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=count)
    logits = rng.normal(size=(count, num_classes)).astype(np.float32)
    logits[np.arange(count), labels] += rng.normal(1.0, 2.0, count).astype(np.float32)
    return softmax(logits), labels


def computed(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    metrics = Classification(probabilities.shape[1])
    metrics.update(probabilities, labels)
    return metrics.compute()


@pytest.mark.parametrize("num_classes", [2, 5, 12])
@pytest.mark.parametrize("seed", [0, 1])
def test_metrics_equal_scikit_learn(num_classes, seed):
    probabilities, labels = random_predictions(num_classes, seed=seed)
    predicted = probabilities.argmax(1)
    metrics = computed(probabilities, labels)
    assert metrics["top1_accuracy"] == pytest.approx(
        sklearn.metrics.accuracy_score(labels, predicted), abs=1e-12
    )
    assert metrics["balanced_accuracy"] == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(labels, predicted), abs=1e-12
    )
    assert metrics["macro_f1"] == pytest.approx(
        sklearn.metrics.f1_score(labels, predicted, average="macro"), abs=1e-12
    )


def test_top5_equals_scikit_learn():
    probabilities, labels = random_predictions(12)
    expected = sklearn.metrics.top_k_accuracy_score(labels, probabilities, k=5, labels=range(12))
    assert computed(probabilities, labels)["top5_accuracy"] == pytest.approx(expected, abs=1e-12)


def test_top5_is_left_out_where_it_would_always_be_one():
    assert "top5_accuracy" not in metric_names(5)


@pytest.mark.parametrize("num_classes", [2, 7])
def test_calibration_error_equals_its_equation(num_classes):
    probabilities, labels = random_predictions(num_classes, 2000)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    expected = 0.0
    for b in range(NUM_BINS):
        inside = (confidence > b / NUM_BINS) & (confidence <= (b + 1) / NUM_BINS)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert computed(probabilities, labels)["expected_calibration_error"] == pytest.approx(expected, abs=1e-12)


def test_calibration_error_equals_torchmetrics_to_its_float32():
    probabilities, labels = random_predictions(7, 2000)
    expected = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(labels), 7, n_bins=NUM_BINS, norm="l1"
    )
    measured = computed(probabilities, labels)["expected_calibration_error"]
    assert measured == pytest.approx(float(expected), abs=1e-6)


def test_class_metrics_equal_scikit_learn():
    probabilities, labels = random_predictions(6)
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
        labels, probabilities.argmax(1)
    )
    above, below = (
        part.sum(axis=0).reshape(3, 6) for part in class_ratios(sample_sums(probabilities, labels))
    )
    np.testing.assert_allclose(above / below, [precision, recall, f1], rtol=1e-12)


def test_confusion_equals_scikit_learn():
    probabilities, labels = random_predictions(4)
    metrics = Classification(4)
    metrics.update(probabilities, labels)
    np.testing.assert_array_equal(
        metrics.confusion, sklearn.metrics.confusion_matrix(labels, probabilities.argmax(1), labels=range(4))
    )


def test_batches_and_processes_merge_to_the_whole():
    probabilities, labels = random_predictions(8)
    first, second = Classification(8), Classification(8)
    for start in range(0, 300, 32):
        first.update(probabilities[start : min(start + 32, 300)], labels[start : min(start + 32, 300)])
    second.update(probabilities[300:], labels[300:])
    first.merge(second)
    whole = Classification(8)
    whole.update(probabilities, labels)
    np.testing.assert_allclose(first.sums, whole.sums, rtol=1e-13)
    np.testing.assert_array_equal(first.confusion, whole.confusion)


def test_balanced_accuracy_leaves_out_classes_without_samples():
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.7, 0.3, 0.0]])
    assert computed(probabilities, np.array([0, 1, 1]))["balanced_accuracy"] == pytest.approx(0.75)


def test_ties_go_to_the_smallest_class():
    metrics = computed(np.full((2, 10), 0.1), np.array([4, 5]))
    assert metrics["top1_accuracy"] == 0
    assert metrics["top5_accuracy"] == 0.5  # the five are the classes 0 to 4


def test_reliability_of_a_hand_made_bin():
    probabilities = np.array([[0.61, 0.39], [0.63, 0.37], [0.65, 0.35]])
    sums = np.asarray(sample_sums(probabilities, np.array([0, 0, 1])).sum(axis=0))
    count, confidence, accuracy = reliability(sums)
    assert count[9] == count.sum() == 3  # (9/15, 10/15]
    assert confidence[9] == pytest.approx(0.63)
    assert accuracy[9] == pytest.approx(2 / 3)
    assert np.isnan(accuracy[0])


def test_no_samples_leave_every_metric_undefined():
    assert all(np.isnan(value) for value in Classification(3).compute().values())


def test_softmax_survives_large_logits():
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0], [-1e4, -1e4]])), [[1, 0], [0.5, 0.5]])


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match=r"sample 1: 1 of 3 outputs are not finite"):
        softmax(np.array([[0.0, 1.0], [np.nan, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize(("label", "message"), [(-1, "label -1; expected 0 to 2"), (3, "label 3")])
def test_a_label_outside_the_classes_is_named(label, message):
    with pytest.raises(InputError, match=message):
        sample_sums(np.full((2, 3), 1 / 3), np.array([0, label]))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="do not fit"):
        sample_sums(np.full((2, 3), 1 / 3), np.array([0]))
    with pytest.raises(InputError, match=r"expected \(N, 4\)"):
        Classification(4).update(np.full((2, 3), 1 / 3), np.array([0, 1]))
