import cv2
import numpy as np

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.reading import read_plane
from deeprob.tasks.segmentation.labels import IGNORED, encode_palette, label_map_of, palette


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


def test_a_palette_stores_indices_and_shows_colours(tmp_path):
    labels = np.arange(12).reshape(3, 4)
    colours = palette(12)
    path = tmp_path / "map.png"
    path.write_bytes(encode_palette(labels, colours))
    np.testing.assert_array_equal(read_plane(path), labels)
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], colours[labels])
    assert colours[:3].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert len(np.unique(colours, axis=0)) == 12
