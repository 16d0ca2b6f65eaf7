from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from deeprob.data.frame import Frame
from deeprob.data.predictions.bop_csv import read_results
from deeprob.data.predictions.files import Classified, Pose
from deeprob.data.predictions.outputs import (
    ClassOutput,
    LabelMapOutput,
    PoseOutput,
    RowOutput,
    palette,
    write_label_map,
)
from deeprob.data.readers.reading import read_plane
from deeprob.errors import InputError


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


def test_two_frames_never_share_a_label_map(tmp_path):
    labels = np.zeros((2, 2), np.int64)
    frames = [SimpleNamespace(key=key) for key in ("a/0.png", "a/1.png", "a/1.jpg")]
    output = LabelMapOutput()
    assert [output.entries(tmp_path, 0, f, [labels]) for f in frames[:2]] == [["a/0.png"], ["a/1.png"]]
    with pytest.raises(InputError, match=r"a/1\.jpg: a/1\.png is another frame's label map"):
        output.entries(tmp_path, 0, frames[2], [labels])
    assert LabelMapOutput().entries(tmp_path, 0, frames[1], [labels]) == ["a/1.png"]  # gone on with


def test_a_name_of_a_file_or_class_is_no_formula_of_a_spreadsheet(tmp_path):
    frame = Frame(np.zeros((4, 4, 3), np.uint8), (), "", "=HYPERLINK(1).png", "")
    output = ClassOutput(["@mug", "cup"])
    found = output.entries(tmp_path, 0, frame, [Classified(0, 0.75, np.array([0.75, 0.25]))])
    output.finish(tmp_path, found)
    assert (tmp_path / "predictions.csv").read_text().splitlines() == [
        "key,left,top,width,height,class,score,p @mug,p cup",
        "'=HYPERLINK(1).png,,,,,'@mug,0.75,0.75,0.25",
    ]
    assert RowOutput().entries(tmp_path, 0, frame, [[-1.5]]) == [["'=HYPERLINK(1).png", -1.5]]
