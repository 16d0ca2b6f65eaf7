"""Recall in parts of the objects, from boxes whose places are known."""

import numpy as np
import pytest

from deeprob.metrics.detection import Detection
from deeprob.tasks.detection.slices import MOST_GROUPS, border_distance, neighbour_iou, recall_slices


def stream_of(found_of, count=12):
    """`count` images of a large cup at the border and a small one in the middle; found_of: image -> boxes."""
    stream = Detection(("cup",))
    cups = np.array([[-0.5, -0.5, 59.5, 59.5], [80, 40, 90, 50]])
    for image in range(count):
        boxes = cups[found_of(image)]
        stream.update(boxes, np.full(len(boxes), 0.8), np.zeros(len(boxes), int), cups, np.zeros(2, int))
    return stream.matches()


def sliced(matches, threshold=0.5, groups=("a",) * 12):
    sizes = np.tile([100, 120], (matches.num_images, 1))
    units = np.arange(matches.num_images)
    return recall_slices(matches, threshold, sizes, groups, units, samples=50, seed=0)


def test_small_objects_are_sliced_from_large_ones():
    found = sliced(stream_of(lambda image: [0] if image % 2 else [0, 1]))
    small, large = found["object_pixels"]
    assert (small["label"], small["value"], small["n"]) == ("10 to 35", 0.5, 12)
    assert (large["label"], large["value"], large["n"]) == ("35 to 60", 1, 12)
    assert small["ci95"][0] < 0.5 < small["ci95"][1]


def test_objects_at_the_border_are_sliced_from_those_inside():
    near, far = sliced(stream_of(lambda _: [1]))["border_pixels"]
    assert (near["value"], far["value"]) == (0, 1)


def test_detections_below_the_score_find_nothing():
    found = sliced(stream_of(lambda _: [0, 1]), threshold=0.9)
    assert {entry["value"] for entry in found["object_pixels"]} == {0}


def test_recordings_are_listed_from_the_worst_and_single_images_are_none():
    matches = stream_of(lambda image: [0, 1] if image < 6 else [0])
    found = sliced(matches, groups=("good",) * 6 + ("bad",) * 6)
    assert [(e["label"], e["value"], e["units"]) for e in found["group"]] == [("bad", 0.5, 6), ("good", 1, 6)]
    assert "group" not in sliced(matches, groups=tuple(map(str, range(12))))


def test_the_distance_to_the_border_is_that_of_the_nearest_side():
    boxes = np.array([[-0.5, 10, 20, 30], [40, 30, 99.5, 60], [50, 40, 60, 89.5]])
    np.testing.assert_allclose(border_distance(boxes, np.tile([100, 120], (3, 1))), [0, 20, 10])


def test_the_neighbour_is_the_one_that_overlaps_most_in_the_same_image():
    stream = Detection(("cup", "ball"))
    none = np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)
    pair = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [50, 50, 60, 60]])
    stream.update(*none, pair, np.array([0, 1, 0]))
    stream.update(*none, pair[:1], np.array([0]))
    np.testing.assert_allclose(neighbour_iou(stream.matches()), [1 / 3, 1 / 3, 0, 0])
    assert neighbour_iou(stream.matches()).shape == (4,)


@pytest.mark.parametrize("kind", ["objects_in_image", "neighbour_iou"])
def test_a_quantity_that_does_not_vary_is_no_slice(kind):
    assert kind not in sliced(stream_of(lambda _: [0, 1]))


def test_of_thousands_of_recordings_the_worst_are_listed():
    """Without a pass over all objects for each."""
    matches = stream_of(lambda image: [0] if image % 20 == 0 else [0, 1], count=2000)
    sizes = np.tile([100, 120], (2000, 1))
    groups = tuple(f"{image // 10:03d}" for image in range(2000))
    found = recall_slices(matches, 0.5, sizes, groups, np.arange(2000), samples=20, seed=0)["group"]
    assert len(found) == MOST_GROUPS
    assert {entry["value"] for entry in found} == {0.95}
    assert [entry["label"] for entry in found[:2]] == ["000", "002"]
