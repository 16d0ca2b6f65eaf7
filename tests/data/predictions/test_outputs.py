from types import SimpleNamespace

import cv2
import numpy as np

from deeprob.data.predictions.bop_csv import read_results
from deeprob.data.predictions.files import Pose
from deeprob.data.predictions.outputs import PoseOutput, palette, write_label_map
from deeprob.data.readers.reading import read_plane


def test_a_label_map_stores_indices_and_shows_colours(tmp_path):
    labels = np.arange(12).reshape(3, 4)
    write_label_map(tmp_path / "map.png", labels)
    np.testing.assert_array_equal(read_plane(tmp_path / "map.png"), labels)
    colours = palette(12)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "map.png"))[..., ::-1], colours[labels])
    assert colours[:3].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert len(np.unique(colours, axis=0)) == 12


def test_objects_without_a_number_count_from_1_as_in_bop(tmp_path):
    """As an evaluated run writes them."""
    names = SimpleNamespace(of_key=lambda key: {"image_id": key}, of_class=lambda i: ("mug", "bowl")[i])
    output, frame = PoseOutput(names), SimpleNamespace(key="a.png")
    entries = output.entries(tmp_path, 3, frame, [Pose(1, 0.5, np.eye(4))])
    output.finish(tmp_path, entries)
    (estimate,) = read_results(tmp_path / "predictions.csv")
    assert (estimate.scene_id, estimate.im_id, estimate.obj_id, estimate.score) == (0, 3, 2, 0.5)
