"""Whole frames with poses: owners, depth, camera and poses of a batch are of the same pixels as its image."""

import dataclasses

import numpy as np
import pytest
import torch

from deeprob.data.batches.augment import stream
from deeprob.data.batches.materialise import materialise
from deeprob.data.frame import Frame, Instance
from deeprob.data.settings import Augmentation
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.tasks.pose.frame_view import PoseFrameView

K = np.array([[100.0, 0, 31.5], [0, 100, 23.5], [0, 0, 1]])


def frame(K=K, mask=True, scale=1):
    """A square of 2 x 2 cm half a metre away at pixels 20 to 24, on a wall one metre away."""
    rows, columns = 48 * scale, 64 * scale
    seen = np.zeros((rows, columns), bool)
    seen[18 * scale : 22 * scale, 20 * scale : 24 * scale] = True
    T = np.eye(4)
    T[:3, 3] = [(22 - 0.5 - 31.5) / 200, (20 - 0.5 - 23.5) / 200, 0.5]
    depth = np.where(seen, 0.5, 1.0).astype(np.float32)
    left, top = 20 * scale - 0.5, 18 * scale - 0.5
    box = np.array([left, top, left + 4 * scale, top + 4 * scale])
    instance = Instance(0, box, seen if mask else None, T_cam_obj=T)
    image = np.repeat((200 * seen.astype(np.uint8))[..., None], 3, 2)
    return Frame(image, (instance,), "wall", "0", "0", K, depth)


class Wall(Source):
    name, real, classes, splits = "wall", True, ("square",), ("train",)

    def __init__(self, *frames):
        self._frames = frames

    def frames(self, split):
        return list(self._frames)


def batch_of(*frames, augmentation=None, view=None):
    view = view or PoseFrameView(64, 48, cell=4)
    samples = materialise(Wall(*frames), "train", view, progress=False)
    collate = view.collate((0.0,) * 3, (1.0,) * 3, augmentation)
    return samples, collate(samples, torch.arange(len(frames)), stream(0, 0))


def test_cells_show_what_the_pixels_show():
    _, batch = batch_of(frame())
    assert batch.owners.shape == batch.depth.shape == (1, 12, 16)
    assert batch.owners[0].nonzero().tolist() == [[4, 5]]  # rows 16 to 20, columns 20 to 24
    assert (batch.depth[0, 4, 5], batch.depth[0, 0, 0]) == (0.5, 1.0)
    assert batch.labels[0].tolist() == [0]
    torch.testing.assert_close(batch.K[0], torch.from_numpy(K).float())


def test_camera_and_pose_follow_a_turned_and_zoomed_image():
    moved = Augmentation(rotate=0.6, zoom=0.3, translate=0.1)
    _, batch = batch_of(*[frame()] * 6, augmentation=moved)
    for image, K_new, T in zip(batch.images, batch.K, batch.T_cam_obj, strict=True):
        seen = (K_new @ T[0, :3, 3:])[:, 0]
        u, v = (seen[:2] / seen[2]).tolist()
        bright = (image[0] > 0.5).nonzero().float().mean(0)
        assert bright.tolist() == pytest.approx([v, u], abs=1.0)


def test_another_size_and_camera_tell_the_same_of_the_scene():
    double = np.diag([2.0, 2.0, 1.0]) @ K
    double[:2, 2] += 0.5
    _, batch = batch_of(frame(), frame(double, scale=2))
    torch.testing.assert_close(batch.K[0], batch.K[1], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(batch.T_cam_obj[0], batch.T_cam_obj[1])


@pytest.mark.parametrize(
    ("of", "said"),
    [(frame(mask=False), "no mask"), (dataclasses.replace(frame(), K=None), "no camera|camera")],
)
def test_a_frame_that_cannot_be_trained_on_says_why(of, said):
    with pytest.raises(InputError, match=said):
        PoseFrameView(64, 48).rows(of, "train")


def test_a_box_without_a_mask_is_unknown_where_nothing_is_trained():
    rows = PoseFrameView(64, 48).rows(frame(mask=False), "test")
    assert set(np.unique(rows.columns["owners"]).tolist()) == {0, 255}


def test_a_cell_that_does_not_divide_the_frame_is_refused():
    with pytest.raises(InputError, match="a part of width and height"):
        PoseFrameView(64, 50, cell=4)
