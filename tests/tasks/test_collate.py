"""Batches of whole frames and crops: what the image goes through, its labels go through too."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deeprob.data.batches.augment import stream
from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.reading import Frames
from deeprob.data.settings import Augmentation
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.geometry.camera import project_points
from deeprob.tasks.classification.view import ClassificationView
from deeprob.tasks.detection.augment import move_boxes
from deeprob.tasks.detection.view import DetectionView
from deeprob.tasks.pose.view import PoseView
from deeprob.tasks.segmentation.view import SegmentationView, move_mask

MOVED = Augmentation(translate=0.1, zoom=0.2, rotate=0.4, aspect=0.1)
K = np.array([[60.0, 0, 31.5], [0, 60, 23.5], [0, 0, 1]])


class Spots(Source):
    """Frames of one bright square of class 1 on black, its mask, and a pose that projects to its middle."""

    name, real, classes, splits = "spots", True, ("ring", "square"), ("train", "val")

    def frames(self, split: str) -> Frames[int]:
        return Frames(range(6), self._frame)

    def _frame(self, index: int) -> Frame:
        x, y = 16 + 5 * index, 12 + 3 * index
        mask = np.zeros((48, 64), bool)
        mask[y - 8 : y + 9, x - 8 : x + 9] = True
        image = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
        pose = np.eye(4)
        pose[:3, 3] = 0.7 * np.linalg.inv(K) @ [x, y, 1]
        box = np.array([x - 8.5, y - 8.5, x + 8.5, y + 8.5])
        return Frame(
            image, (Instance(1, box, mask, T_cam_obj=pose),), "spots", f"{index}", f"{index // 2}", K
        )


def batch(view, augmentation=MOVED, **options):
    data = PerceptionData(
        Spots(), view, augmentation, batch_size=6, mean=(0.0,) * 3, std=(1.0,) * 3, progress=False, **options
    )
    return data.train_dataloader().batches[0, 0]


def test_boxes_follow_their_objects() -> None:
    seen = batch(DetectionView(64, 48))
    assert seen.images.shape == (6, 3, 48, 64)
    assert [b.shape for b in seen.boxes] == [(1, 4)] * 6
    assert [label.tolist() for label in seen.labels] == [[1]] * 6
    for image, (box,) in zip(seen.images, seen.boxes, strict=True):
        rows, columns = torch.nonzero(image[0] > 0.5, as_tuple=True)
        tight = torch.stack([columns.min(), rows.min(), columns.max(), rows.max()]) + torch.tensor(
            [-0.5, -0.5, 0.5, 0.5]
        )
        torch.testing.assert_close(box, tight, atol=1.5, rtol=0)


def test_labels_of_pixels_follow_their_objects() -> None:
    seen = batch(SegmentationView(64, 48))
    assert seen.labels.shape == (6, 48, 64)
    assert set(seen.labels.unique().tolist()) == {0, 2}
    assert ((seen.images[:, 0] > 0.5) == (seen.labels == 2)).float().mean() > 0.99


def test_the_pose_projects_to_where_the_image_went() -> None:
    seen = batch(PoseView(size=48, margin=0.5))
    for image, camera, pose in zip(seen.images, seen.K, seen.T_cam_obj, strict=True):
        rows, columns = torch.nonzero(image[0] > 0.5, as_tuple=True)
        middle = np.array([columns.double().mean(), rows.double().mean()])
        projected = project_points(camera.double().numpy(), pose[None, :3, 3].double().numpy())[0]
        np.testing.assert_allclose(projected, middle, atol=0.7)
        R = pose[:3, :3]
        torch.testing.assert_close(R @ R.T, torch.eye(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("view", [DetectionView(64, 48), SegmentationView(64, 48), PoseView(size=32)])
def test_evaluation_shows_frames_as_they_are(view) -> None:
    data = PerceptionData(Spots(), view, MOVED, mean=(0.0,) * 3, std=(1.0,) * 3, progress=False)
    whole = next(iter(data.val_dataloader()))
    stored = data.split("val").images.permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(whole.images, stored.float())
    assert whole.indices.tolist() == list(range(6))


@pytest.mark.parametrize("view", [DetectionView(32, 32), SegmentationView(32, 32), PoseView(size=32)])
def test_threads_make_the_same_batches(view) -> None:
    loaders = [
        PerceptionData(Spots(), view, MOVED, batch_size=2, num_workers=n, progress=False).train_dataloader()
        for n in (0, 2)
    ]
    for a, b in zip(*loaders, strict=True):
        for x, y in zip(a, b, strict=True):
            pairs = zip(x, y, strict=True) if isinstance(x, list) else [(x, y)]
            assert all(torch.equal(p, q) for p, q in pairs)


def test_an_object_that_leaves_the_image_is_left_out() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    away = torch.eye(3).repeat(2, 1, 1)
    away[:, 0, 2] = -9.0
    moved, visible = move_boxes(boxes, away, torch.tensor([0, 0, 40, 40]))
    np.testing.assert_allclose(visible, [0.15, 1.0])
    assert moved.tolist() == [[-0.5, 0, 1, 10], [11, 20, 21, 30]]


def test_a_mask_moves_by_whole_pixels_and_repeats_its_border() -> None:
    labels = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8)
    right = torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 1]])
    assert move_mask(labels, right, 2, 3).tolist() == [[1, 1, 2], [4, 4, 5]]


class Maps(Source):
    """Frames whose red tells the column and green the row, with one box each; mirrored where asked."""

    name, real, classes, splits = "maps", True, ("a", "b"), ("train",)

    def __init__(self, mirrored: bool = False) -> None:
        self.mirrored = mirrored

    def frames(self, split: str) -> Frames[int]:
        return Frames(range(8), self._frame)

    def _frame(self, index: int) -> Frame:
        image = np.zeros((80, 100, 3), np.uint8)
        image[..., 0], image[..., 1] = 2 * np.arange(100), 2 * np.arange(80)[:, None]
        left, top = 3 + 5 * index, 2 + 4 * index
        right, bottom = left + 20 + 2 * index, top + 40
        if self.mirrored:
            image, left, right = np.ascontiguousarray(image[:, ::-1]), 100 - right, 100 - left
        box = np.array([left, top, right, bottom], float) - 0.5
        return Frame(image, (Instance(index % 2, box),), "maps", f"{index}", f"{index}")


def of_maps(augmentation=None, mirrored=False, **settings):
    """The eight crops of the maps with the places of their pixels, (8, 5, 32, 32), and their windows."""
    view = ClassificationView(size=32, channels=5, **settings)
    split = PerceptionData(Maps(mirrored), view, progress=False).split("train")
    cut = view.collate((0.0,) * 3, (1.0,) * 3, augmentation)
    return cut(split, torch.arange(8), stream(3)).images, split.windows


@pytest.mark.parametrize("settings", [{}, {"margin": 0.05}, {"square": True}])
@pytest.mark.parametrize("augmentation", [None, MOVED])
def test_the_places_of_pixels_are_those_that_the_frame_has_there(augmentation, settings) -> None:
    images, windows = of_maps(augmentation, **settings)
    assert images.shape == (8, 5, 32, 32)
    # Where a crop's border, or the frame's, is repeated, pixels show another place than their own.
    pixel = (windows[:, 2:] - windows[:, :2]) / 32
    low = (windows[:, :2].clamp(min=-1) + pixel)[..., None, None]
    high = (windows[:, 2:].clamp(max=1) - pixel)[..., None, None]
    own = ((images[:, 3:] > low) & (images[:, 3:] < high)).all(1)
    assert own.float().mean() > 0.5
    for axis, size in enumerate((100, 80)):
        place = (images[:, 3 + axis] + 1) / 2 * size - 0.5
        shown = images[:, axis] * 255 / 2
        assert (place - shown)[own].abs().max() < 0.8  # of a frame's pixel; levels are halves of one


def test_a_mirrored_crop_is_that_of_the_mirrored_frame() -> None:
    flipped, other = of_maps(Augmentation(flip=1.0))[0], of_maps(mirrored=True)[0]
    torch.testing.assert_close(flipped, other, atol=1e-5, rtol=0)


def test_cutout_hides_the_picture_and_not_its_place() -> None:
    plain, hidden = of_maps(Augmentation())[0], of_maps(Augmentation(cutout=0.8))[0]
    assert (hidden[:, :3] == 0).all(1).float().mean() > 0.2
    assert torch.equal(hidden[:, 3:], plain[:, 3:])


@pytest.mark.parametrize(
    ("view", "augmentation", "said"),
    [
        (DetectionView(8, 8), Augmentation(cutmix=0.2), "augmentation.cutmix is 0.2"),
        (SegmentationView(8, 8), Augmentation(cutmix=1.0), "augmentation.cutmix is 1.0"),
        (PoseView(), Augmentation(flip=0.5), "a mirrored object is another object"),
    ],
)
def test_what_labels_cannot_follow_is_refused(view, augmentation, said) -> None:
    with pytest.raises(InputError, match=said):
        view.collate((0.0,) * 3, (1.0,) * 3, augmentation)


@pytest.mark.parametrize("knob", ["mixup", "cutmix"])
def test_mixed_images_have_mixed_labels(knob: str) -> None:
    size = 16
    plain = PerceptionData(Spots(), ClassificationView(size=size), progress=False).split("train")
    images = torch.zeros(8, size, size, 3, dtype=torch.uint8)
    images[4:] = 255
    labels = torch.tensor([0] * 4 + [1] * 4)
    one = torch.zeros(8, dtype=torch.int64)
    split = type(plain)(
        **{**vars(plain), "images": images, "labels": labels, "units": one, "groups": one, "keys": ("",) * 8}
    )
    cut = ClassificationView(size=size).collate((0.0,) * 3, (1.0,) * 3, Augmentation(**{knob: 1.0}), 2)
    mixed = cut(split, torch.arange(8), stream(0))
    torch.testing.assert_close(mixed.labels.sum(1), torch.ones(8))
    white = mixed.images.mean(
        (1, 2, 3)
    )  # class 1 is white: its share of the pixels is its share of the label
    torch.testing.assert_close(white, mixed.labels[:, 1], atol=1e-5, rtol=0)
    assert ((mixed.labels > 0.02) & (mixed.labels < 0.98)).any()
    again = cut(split, torch.arange(8), stream(0))
    assert torch.equal(mixed.images, again.images)
    values = set(mixed.images.unique().tolist())
    assert values == {0.0, 1.0} if knob == "cutmix" else len(values) > 2


def test_both_kinds_of_mixing_take_turns() -> None:
    data = PerceptionData(
        Spots(),
        ClassificationView(size=8),
        Augmentation(mixup=1.0, cutmix=1.0),
        batch_size=6,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        progress=False,
    )
    batches = data.train_dataloader().batches
    seen = [batches[epoch, 0].labels for epoch in range(4)]
    assert all(labels.shape == (6, 2) for labels in seen)


def test_segmentation_counts_the_background_as_a_class() -> None:
    data = PerceptionData(Spots(), SegmentationView(8, 8), progress=False)
    assert data.classes == ("background", "ring", "square")


def test_frames_without_masks_have_no_segmentation(darknet_root: Path) -> None:
    from deeprob.data.readers.darknet import DarknetSource

    source = DarknetSource(darknet_root, {"train": ["2019*"]})
    with pytest.raises(InputError, match="no mask"):
        PerceptionData(source, SegmentationView(8, 8), progress=False).split("train")
