"""Poses of whole frames: what a network finds in a turned image is told in the frame's own camera."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deeprob.errors import InputError
from deeprob.models.pose.posecnn import Found
from deeprob.tasks.pose.frame_task import FramePose

TURN = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # a quarter turn about the optical axis
TRUE = np.eye(4)
TRUE[:3, 3] = 0.1, 0.2, 0.7


class Knowing:
    """A network that is right, in the image's camera, and whose other decode is a centimetre too far."""

    decodes = ("hough", "depth")
    decode = "hough"

    def __call__(self, images):
        return images

    def estimates(self, outputs, batch, decode):
        found = []
        for turn in batch.turns.double().numpy():
            T = TRUE.copy()
            T[:3] = turn @ TRUE[:3]
            T[2, 3] += 0.01 * (decode == "depth")
            found.append([Found(1, 0.8, T)])
        found[1] = []
        return found


@pytest.fixture
def task():
    return FramePose(SimpleNamespace(classes=("tin", "cup")))


@pytest.fixture
def batch():
    return SimpleNamespace(images=torch.zeros(2, 3, 4, 4), turns=torch.stack([TURN, torch.eye(3)]))


def test_poses_are_told_in_the_frames_camera(task, batch):
    ((one,), none) = task.predict(Knowing(), batch)
    assert none == []
    assert (one.class_id, one.score) == (1, 0.8)
    np.testing.assert_allclose(one.T_cam_obj, TRUE, atol=1e-12)


def test_other_decodes_stand_beside_the_models_own(task, batch):
    task.compared = ("depth",)
    found = {}
    for key, estimates in zip(("a", "b"), task.predict(Knowing(), batch), strict=True):
        task.collect(found, key, estimates)
    assert found["b"] == []  # a frame in which nothing is found counts
    other = task.decoded(found)["depth"]["a"][0]
    assert other.T_cam_obj[2, 3] == pytest.approx(0.71)


def test_boxes_are_refused(task):
    with pytest.raises(InputError, match="finds the objects itself"):
        task.checked(None, SimpleNamespace(boxes="boxes.json"), "test")


def test_a_network_of_crops_is_refused(task, batch):
    with pytest.raises(InputError, match="model=posecnn"):
        task.predict(torch.nn.Identity(), batch)
