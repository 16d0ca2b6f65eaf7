"""Label maps as objects."""

import numpy as np

from deeprob.models.pose.regions import regions_of


def test_two_instances_of_a_class_are_two_regions():
    labels = np.zeros((6, 8), np.int64)
    labels[0:2, 0:2] = labels[3:5, 5:8] = 2
    labels[2, 2] = 2  # touches the first at a corner
    labels[5, 0] = 1
    found = regions_of(labels, least=3)
    assert [(r.label, len(r.rows)) for r in found] == [(2, 5), (2, 6)]
    assert found[1].box(cell=4) == [20, 12, 31, 19]
    assert [r.label for r in regions_of(labels, least=1)] == [1, 2, 2]
    assert regions_of(np.zeros((3, 3), np.int64), least=1) == []
