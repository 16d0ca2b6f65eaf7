import numpy as np

from deeprob.data.frame import Frame, Instance
from deeprob.tasks.segmentation.labels import IGNORED, label_map_of


def test_crowds_are_ignored_where_no_object_is():
    mask, crowd = np.zeros((6, 8), bool), np.zeros((6, 8), bool)
    mask[1:3, 1:3], crowd[2:5, 2:5] = True, True
    boxed = Instance(0, np.array([5.5, -0.5, 7.5, 1.5]))
    frame = Frame(
        np.zeros((6, 8, 3), np.uint8),
        (Instance(3, np.zeros(4), mask),),
        "",
        "",
        "",
        crowds=(Instance(0, np.zeros(4), crowd), boxed),
    )
    expected = np.zeros((6, 8))
    expected[crowd], expected[:2, 6:], expected[mask] = IGNORED, IGNORED, 4
    np.testing.assert_array_equal(label_map_of(frame), expected)
