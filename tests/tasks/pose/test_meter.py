"""Poses evaluated as the field does: on a real set against numbers of the public toolkit."""

import numpy as np
import pytest

from deeprob.data.frame import Frame, Instance
from deeprob.data.predictions.files import Pose, read_predictions
from deeprob.data.readers.bop import BopSource
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.geometry.mesh import load_mesh
from deeprob.metrics.pose_matching import METRICS
from deeprob.tasks.pose.meter import PoseMeter


@pytest.mark.data
@pytest.mark.slow
def test_numbers_on_lmo_are_those_of_the_public_toolkit(data_dir):
    """ADD(-S) over 0.1 diameters, AR_MSSD and AR_MSPD, over the 737 listed targets."""
    targets = {"test": "test_targets_bop19.json"}
    source = BopSource(data_dir / "lmo", {"test": ["test/*"]}, targets)
    predicted = read_predictions(data_dir / "lmo" / "results_upenn_lmo-test.csv", source, "test")
    meter, frames = PoseMeter(source, "frame"), source.frames("test")
    for index in range(len(frames)):
        frame = frames[index]
        meter.add(index, frame, predicted.of(index, frame))
    scores = meter.scores()
    found = dict(zip(METRICS, scores.value, strict=True))
    assert scores.counts[0] == 737
    assert found["add_or_add_s_recall"] == pytest.approx(0.4315, abs=5e-5)
    assert found["average_recall_mssd"] == pytest.approx(0.5845, abs=5e-5)
    assert found["average_recall_mspd"] == pytest.approx(0.7967, abs=5e-5)
    assert np.isnan(found["average_recall_vsd"])  # there is no depth


class OneOfTwo(Source):
    """A set that has the model of one of its classes."""

    name, real, classes, splits, has_models = "half", True, ("brick", "ghost"), ("test",), True

    def __init__(self, path):
        trimesh = pytest.importorskip("trimesh")
        trimesh.creation.box((0.08, 0.06, 0.04)).export(path / "brick.ply")
        self._mesh = load_mesh(path / "brick.ply")

    def frames(self, split):
        return []

    def mesh(self, class_id):
        if class_id:
            raise InputError("no object ghost", where=self.name)
        return self._mesh


def test_a_model_is_needed_only_of_objects_that_are_there(tmp_path):
    T = np.eye(4)
    T[2, 3] = 0.5
    K = np.array([[100.0, 0, 31.5], [0, 100, 23.5], [0, 0, 1]])
    image = np.zeros((48, 64, 3), np.uint8)
    seen = (Instance(0, np.array([20.0, 15, 44, 33]), T_cam_obj=T, visible_fraction=1.0),)
    frame = Frame(image, seen, "half", "0", "0", K, np.full((48, 64), 0.5, np.float32))
    meter = PoseMeter(OneOfTwo(tmp_path), "frame")
    meter.add(0, frame, [Pose(0, 1.0, T), Pose(1, 0.5, T)])  # the second is of an object that is not there
    found = dict(zip(METRICS, meter.scores().value, strict=True))
    assert found["add_or_add_s_recall"] == found["bop_average_recall"] == 1.0
