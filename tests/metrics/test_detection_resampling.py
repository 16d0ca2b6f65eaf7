"""Weighted images against pycocotools on images that are really there several times."""

import numpy as np
import pytest

from deeprob.metrics.detection import METRICS, Detection
from deeprob.metrics.detection_resampling import RECALLS, interpolated, metrics

CLASSES = ("cup", "ball", "never")


def random_image(rng: np.random.Generator) -> dict[str, np.ndarray]:
    count = int(rng.integers(0, 5))
    corner = rng.uniform(0, 150, (count, 2))
    true = np.concatenate([corner, corner + rng.uniform(10, 120, (count, 2))], 1)
    extra = rng.uniform(0, 100, (2, 2))
    boxes = np.concatenate(
        [true + rng.normal(0, 5, true.shape).clip(-4, 4), np.concatenate([extra, extra + 50], 1)]
    )
    return {
        "boxes": boxes,
        "scores": rng.random(count + 2),
        "class_ids": rng.integers(2, size=count + 2),
        "true_boxes": true,
        "true_class_ids": rng.integers(2, size=count),
    }


def stream(images) -> Detection:
    found = Detection(CLASSES)
    for image in images:
        found.update(**image)
    return found


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(3)
    return [random_image(rng) for _ in range(20)]


def values(found: Detection) -> np.ndarray:
    return np.array([found.compute()[name] for name in METRICS])


def test_weights_of_one_give_what_pycocotools_says(images):
    found = stream(images)
    ones = np.ones((1, len(images)))
    np.testing.assert_allclose(metrics([(found.ranked(), ones)], ones)[0], values(found), atol=1e-9)


def test_a_weight_is_an_image_that_is_there_so_often(images):
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(images), np.full(len(images), 1 / len(images)), size=5).astype(float)
    weighed = metrics([(stream(images).ranked(), weights)], weights)
    for of_weights, counts in zip(weighed, weights, strict=True):
        repeated = [image for image, n in zip(images, counts, strict=True) for _ in range(int(n))]
        np.testing.assert_allclose(of_weights, values(stream(repeated)), atol=1e-9)


def test_two_sets_of_detections_make_one_whose_images_come_from_either(images):
    rng = np.random.default_rng(1)
    other = [
        image | {"scores": rng.random(len(image["scores"])), "boxes": image["boxes"] + 3} for image in images
    ]
    first = rng.integers(2, size=(1, len(images))).astype(float)
    parts = [(stream(images).ranked(), first), (stream(other).ranked(), 1 - first)]
    mixed = [a if f else b for a, b, f in zip(images, other, first[0], strict=True)]
    np.testing.assert_allclose(metrics(parts, np.ones_like(first))[0], values(stream(mixed)), atol=1e-9)


def test_masks_are_compared_where_they_are_asked_for():
    full, half = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    full[5:35, 5:35] = half[5:35, 5:20] = True
    box, one = np.array([[5.0, 5, 35, 35]]), np.array([0])
    by_mask, by_box = Detection(("cup",), masks=True), Detection(("cup",))
    by_mask.update(box, np.ones(1), one, box, one, [half], [full])
    by_box.update(box, np.ones(1), one, box, one)
    assert by_box.compute()["mean_ap"] == pytest.approx(1)
    assert by_mask.compute()["mean_ap"] == pytest.approx(0.1)  # an IoU of exactly one half
    with pytest.raises(ValueError, match="expected 1 masks"):
        by_mask.update(box, np.ones(1), one, box, one, [], [full])


@pytest.mark.parametrize("count", [0, 1, 5, 101, 500])
def test_few_and_many_detections_are_interpolated_alike(count):
    rng = np.random.default_rng(count)
    reached = np.sort(rng.integers(0, 101, (4, 3, count)) / rng.choice([50, 100, 200], (4, 3, 1)), axis=-1)
    best = np.sort(rng.random((4, 3, count)), axis=-1)[..., ::-1]
    first = [
        [[row for row, r in enumerate(rows) if r >= recall] for recall in RECALLS]
        for rows in reached.reshape(12, -1)
    ]
    expected = [
        sum(b[at[0]] for at in firsts if at) / 101
        for firsts, b in zip(first, best.reshape(12, -1), strict=True)
    ]
    np.testing.assert_allclose(interpolated(reached, best).ravel(), expected, rtol=1e-12)
