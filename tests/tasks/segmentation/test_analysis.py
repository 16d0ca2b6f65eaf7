import numpy as np

from deeprob.tasks.segmentation import analysis
from deeprob.tasks.segmentation.labels import IGNORED


def maps():
    labels = np.zeros((10, 12), np.int64)
    labels[:, 6:] = 1
    labels[0] = IGNORED
    predicted = labels.copy()
    predicted[0] = 0
    predicted[1:5, 6] = 0  # at the boundary
    predicted[1, 11] = 2  # far from it
    return labels, predicted


def test_confusion_counts_labelled_pixels():
    counts = analysis.confusion(*maps(), 3)
    assert counts.tolist() == [[54, 0, 0], [4, 49, 1], [0, 0, 0]]
    worst = analysis.most_mistaken(counts, ("none", "cup", "tin"))
    assert [(p["truth"], p["said"], p["pixels"]) for p in worst] == [("cup", "none", 4), ("cup", "tin", 1)]


def test_errors_are_counted_by_the_distance_to_the_boundary():
    labels, predicted = maps()
    labels[0] = predicted[0] = labels[1]
    near = analysis.by_distance(labels, predicted)
    assert near[0].tolist() == [20, 20, 40, 40, 0, 0]
    assert near[1].tolist() == [4, 0, 0, 1, 0, 0]


def test_a_map_without_a_boundary_has_no_near_pixels():
    near = analysis.by_distance(np.ones((4, 5), np.int64), np.ones((4, 5), np.int64))
    assert near[0].tolist() == [0, 0, 0, 0, 0, 20]
