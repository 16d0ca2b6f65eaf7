import numpy as np
import pytest

from deeprob.errors import InputError
from deeprob.metrics.points import PartSegmentation, shape_iou

PARTS = {"mug": (0, 1), "lamp": (2, 3, 4)}


def iou_by_sets(labels, predicted, parts):
    ious = []
    for part in parts:
        a = {i for i, label in enumerate(labels) if label == part}
        b = {i for i, label in enumerate(predicted) if label == part}
        ious.append(len(a & b) / len(a | b) if a | b else 1.0)
    return sum(ious) / len(ious)


def random_shapes():
    rng = np.random.default_rng(0)
    for i in range(12):
        category = "mug" if i % 3 else "lamp"
        labels = rng.choice(PARTS[category], 50)
        yield category, labels, np.where(rng.random(50) < 0.3, rng.choice(PARTS[category], 50), labels)


def test_shape_iou_equals_its_definition():
    for category, labels, predicted in random_shapes():
        expected = iou_by_sets(labels, predicted, PARTS[category])
        assert shape_iou(labels, predicted, PARTS[category]) == pytest.approx(expected, abs=1e-12)


def test_a_part_that_is_nowhere_counts_one():
    assert shape_iou(np.array([2, 2]), np.array([2, 2]), (2, 3)) == 1
    assert shape_iou(np.array([2, 2]), np.array([2, 3]), (2, 3)) == pytest.approx(0.25)


def test_means_over_shapes_and_over_categories():
    metrics = PartSegmentation(PARTS)
    ious = {"mug": [], "lamp": []}
    right = total = 0
    for category, labels, predicted in random_shapes():
        metrics.update(category, labels, predicted)
        ious[category].append(iou_by_sets(labels, predicted, PARTS[category]))
        right, total = right + (labels == predicted).sum(), total + 50
    found = metrics.compute()
    assert found["instance_miou"] == pytest.approx(np.mean(ious["mug"] + ious["lamp"]), abs=1e-12)
    assert found["category_miou"] == pytest.approx(
        (np.mean(ious["mug"]) + np.mean(ious["lamp"])) / 2, abs=1e-12
    )
    assert found["point_accuracy"] == pytest.approx(right / total)


def test_streams_merge_to_the_whole():
    whole, parts = PartSegmentation(PARTS), [PartSegmentation(PARTS), PartSegmentation(PARTS)]
    for i, shape in enumerate(random_shapes()):
        whole.update(*shape)
        parts[i % 2].update(*shape)
    parts[0].merge(parts[1])
    assert parts[0].compute() == pytest.approx(whole.compute())


def test_a_category_without_shapes_is_left_out():
    metrics = PartSegmentation(PARTS)
    metrics.update("mug", np.array([0, 1]), np.array([0, 1]))
    assert metrics.compute() == {"instance_miou": 1.0, "category_miou": 1.0, "point_accuracy": 1.0}


def test_no_shapes_leave_every_metric_undefined():
    assert all(np.isnan(value) for value in PartSegmentation(PARTS).compute().values())


def test_wrong_input_is_named():
    metrics = PartSegmentation(PARTS)
    with pytest.raises(InputError, match="category 'chair'; expected mug, lamp"):
        metrics.update("chair", np.array([0]), np.array([0]))
    with pytest.raises(InputError, match=r"part 4; expected one of \[0, 1\]"):
        metrics.update("mug", np.array([4]), np.array([0]))
    with pytest.raises(InputError, match=r"expected \(P,\) both"):
        metrics.update("mug", np.array([0, 1]), np.array([0]))
