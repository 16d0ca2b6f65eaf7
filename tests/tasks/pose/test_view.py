"""Crops of objects: the depth, the mask and the pose of a batch are of the same pixels as its image."""

import numpy as np
import pytest
import torch

from deeprob.data.batches.augment import stream
from deeprob.data.batches.materialise import materialise
from deeprob.data.frame import Frame, Instance
from deeprob.data.settings import Augmentation
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.geometry.mesh import load_mesh
from deeprob.models.pose.objects import ObjectTable
from deeprob.models.pose.targets import UNKNOWN, dense_targets
from deeprob.sim.depth import DepthRenderer
from deeprob.tasks.pose.baselines import mean_pose, nearest_view
from deeprob.tasks.pose.objects import objects_of
from deeprob.tasks.pose.view import PoseView

K = np.array([[150.0, 0, 79.5], [0, 160, 59.5], [0, 0, 1]])


class Boxes(Source):
    """Pictures of one box of 8 x 6 x 4 cm, its depth and mask, turned a little from frame to frame."""

    name, real, classes, splits, has_models = "boxes", True, ("box",), ("train",), True

    def __init__(self, path):
        import trimesh

        trimesh.creation.box((0.08, 0.06, 0.04)).export(path / "box.ply")
        self._mesh = load_mesh(path / "box.ply")
        self._draw = DepthRenderer([self._mesh])

    def mesh(self, class_id):
        return self._mesh

    def frames(self, split):
        return [self._frame(i) for i in range(5)]

    def _frame(self, index):
        from scipy.spatial.transform import Rotation

        T = np.eye(4)
        T[:3, :3] = Rotation.from_rotvec([0.5 + 0.2 * index, 0.4, 0.1 * index]).as_matrix()
        T[:3, 3] = [0.02 * index - 0.04, 0.01 * index, 0.4 + 0.03 * index]
        depth = self._draw(0, T, K, (120, 160))
        mask = depth > 0
        rows, columns = np.nonzero(mask)
        box = np.array([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])
        image = np.repeat((mask * np.uint8(40 + 40 * index))[..., None], 3, axis=2)
        seen = (Instance(0, box, mask, T_cam_obj=T, visible_fraction=1.0),)
        return Frame(image, seen, self.name, f"{index}", f"{index}", K, depth)


@pytest.fixture
def boxes(tmp_path):
    return Boxes(tmp_path)


def batch_of(source, view, augmentation=None):
    samples = materialise(source, "train", view, progress=False)
    collate = view.collate((0.0,) * 3, (1.0,) * 3, augmentation)
    return samples, collate(samples, torch.arange(len(samples)), stream(0, 0))


MOVED = Augmentation(translate=0.1, zoom=0.2, rotate=0.4)


@pytest.mark.parametrize(
    ("view", "augmentation"),
    [
        (PoseView(size=64, cell=4), None),
        (PoseView(size=64, cell=8), MOVED),
        (PoseView(size=64, cell=4, jitter=0.2, turn=1.0), None),
    ],
)
def test_every_cell_on_the_object_shows_a_point_of_its_surface(boxes, view, augmentation):
    _, batch = batch_of(boxes, view, augmentation)
    table = ObjectTable(objects_of(boxes))
    labels, T = batch.labels, batch.T_cam_obj
    targets = dense_targets(table, labels, T, batch.K, batch.depth, batch.mask, 64)
    points = table.metric(targets.points[:, 0], labels)[targets.known]
    assert len(points) > 80
    off_surface = (points.abs() - torch.tensor([0.04, 0.03, 0.02])).max(1).values
    # a cell's reading is that of the frame's nearest pixel, and a face may fall away from there
    assert off_surface.mean().abs() < 2e-4
    assert off_surface.abs().quantile(0.9) < 2e-3
    bright = batch.images[:, 0, view.cell // 2 :: view.cell, view.cell // 2 :: view.cell] > 0.05
    assert (bright == (batch.mask == 1)).float().mean() > 0.93


def test_jitter_is_of_training_alone_and_always_the_same(boxes):
    view, frame = PoseView(size=64, cell=4, jitter=0.2, turn=0.5), boxes.frames("train")[1]
    plain, moved, again = view(frame)[0], view(frame, training=True)[0], view(frame, training=True)[0]
    np.testing.assert_array_equal(moved.matrix, again.matrix)
    assert np.abs(plain.matrix - moved.matrix).max() > 0.01
    middle = (frame.instances[0].box_xyxy[:2] + frame.instances[0].box_xyxy[2:]) / 2
    assert (plain.matrix @ [*middle, 1])[:2].tolist() == pytest.approx([31.5, 31.5])


def test_frames_without_depth_or_masks_are_seen_too(boxes):
    frame = boxes.frames("train")[0]
    bare = Frame(
        frame.image, (Instance(0, frame.instances[0].box_xyxy, T_cam_obj=np.eye(4)),), "b", "k", "g", K
    )
    (crop,) = PoseView(size=64, cell=4)(bare)
    assert (crop.mask == UNKNOWN).all()
    assert not crop.depth.any()


def test_poses_of_training_crops_are_found_again(boxes):
    samples, _ = batch_of(boxes, PoseView(size=64, cell=4))
    objects = objects_of(boxes)
    found = nearest_view(samples, samples, objects)
    np.testing.assert_allclose(found, samples.T_cam_obj.numpy(), atol=1e-5)
    mean = mean_pose(samples, samples, objects)
    away = np.linalg.norm(mean[:, :3, 3] - samples.T_cam_obj[:, :3, 3].numpy(), axis=1)
    assert (away < 0.1).all()
    np.testing.assert_allclose(
        mean[:, :3, :3] @ mean[:, :3, :3].transpose(0, 2, 1), np.tile(np.eye(3), (5, 1, 1)), atol=1e-6
    )


def test_an_origin_far_from_the_object_is_refused(boxes):
    shift = np.eye(4)
    shift[0, 3] = 0.5
    boxes._mesh = boxes._mesh.transformed(shift)
    with pytest.raises(
        InputError, match=r"lies 50 cm from its middle; data.sim.objects.centre=true|centre=true"
    ):
        objects_of(boxes)
