import cv2
import numpy as np

from deeprob.data.predictions.outputs import palette, write_label_map
from deeprob.data.readers.reading import read_plane


def test_a_label_map_stores_indices_and_shows_colours(tmp_path):
    labels = np.arange(12).reshape(3, 4)
    write_label_map(tmp_path / "map.png", labels)
    np.testing.assert_array_equal(read_plane(tmp_path / "map.png"), labels)
    colours = palette(12)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "map.png"))[..., ::-1], colours[labels])
    assert colours[:3].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert len(np.unique(colours, axis=0)) == 12
