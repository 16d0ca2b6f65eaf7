import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from deeprob.data.batches.augment import stream
from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.coco import decode_mask
from deeprob.data.readers.reading import Frames
from deeprob.data.settings import DetectionAugmentation
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.geometry.boxes import of_mask
from deeprob.models.detection.contract import Detections
from deeprob.tasks.instance_segmentation.task import InstanceSegmentation
from deeprob.tasks.instance_segmentation.view import InstanceView

from .test_masks import disc

OBJECTS = (disc(15, 12, 8), disc(26, 20, 9))  # they overlap


class Discs(Source):
    """Two frames of 50 x 40: two discs that overlap and a crowd; and nothing."""

    name, real, classes, splits = "discs", True, ("a", "b"), ("train",)
    masks = True

    def frames(self, split: str) -> Frames[int]:
        return Frames([0, 1], self._frame)

    def _frame(self, index: int) -> Frame:
        image = np.zeros((40, 50, 3), np.uint8)
        if index:
            return Frame(image, (), "discs", "1", "1")
        objects = tuple(
            Instance(c, of_mask(m), mask=m if self.masks else None) for c, m in enumerate(OBJECTS)
        )
        crowd = Instance(0, np.array([39.5, 29.5, 49.5, 39.5]), mask=disc(45, 35, 5))
        return Frame(image, objects, "discs", "0", "0", crowds=(crowd,))


@pytest.fixture
def data():
    return PerceptionData(Discs(), InstanceView(50, 40), progress=False)


def batch_of(data, augmentation=None):
    samples = data.split("train")
    collate = data.view.collate((0.0,) * 3, (1.0,) * 3, augmentation)
    return samples, collate(samples, torch.tensor([0, 1]), stream(0))


class Perfect(nn.Module):
    """Finds what is there: boxes, and masks cut out by them."""

    def forward(self, images):
        return images

    def detect(self, outputs):
        boxes = torch.tensor(np.array([of_mask(m) for m in OBJECTS])).float()
        return [Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1])), nothing()]

    def masks(self, outputs, found):
        from deeprob.models.detection.mask_heads import cut_masks

        return [cut_masks(torch.tensor(np.array(OBJECTS)), found[0].boxes, 28), torch.zeros(0, 28, 28)]


def nothing():
    return Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


def test_a_batch_holds_the_masks_of_each_image(data):
    _, batch = batch_of(data)
    assert np.array_equal(batch.masks[0].numpy(), np.array(OBJECTS))
    assert batch.masks[1].shape == (0, 40, 50)
    assert batch.sizes.tolist() == [[40, 50]] * 2


def test_masks_are_mirrored_and_cropped_with_the_image(data):
    _, batch = batch_of(data, DetectionAugmentation(flip=1.0))
    assert np.array_equal(batch.masks[0].numpy(), np.array(OBJECTS)[..., ::-1])
    _, batch = batch_of(data, DetectionAugmentation(crop=[24, 32], min_visible=0.1))
    for mask, box, label in zip(batch.masks[0], batch.boxes[0], batch.labels[0], strict=True):
        tight = of_mask(mask.numpy())
        assert mask.shape == (24, 32)
        assert np.abs(tight - box.numpy()).max() <= 2  # a disc's corner is not in it
        assert int(label) in (0, 1)


def test_the_same_frame_comes_back_from_its_samples(data):
    samples, batch = batch_of(data)
    frame, empty = InstanceSegmentation(data).truths(samples, batch)
    assert all(np.array_equal(i.mask, m) for i, m in zip(frame.instances, OBJECTS, strict=True))
    assert np.array_equal(frame.crowds[0].mask, disc(45, 35, 5))
    assert empty.instances == ()


def test_a_perfect_detector_has_masks_as_good_as_their_cells_allow(data, tmp_path):
    task = InstanceSegmentation(data)
    samples, batch = batch_of(data)
    found = task.predict(Perfect(), batch)
    for box, wanted in zip(found[0], OBJECTS, strict=True):
        mask = decode_mask(box.segmentation, (40, 50), "")
        assert (mask & wanted).sum() / (mask | wanted).sum() > 0.97
    meter = task.meter(samples)
    meter.update(found, task.truths(samples, batch))
    assert meter.scores().value[0] == pytest.approx(1)
    file = tmp_path / "predictions_train.json"
    task.write({"0": found[0], "1": []}, "train", file)
    entries = json.loads(file.read_text())
    assert [e["segmentation"]["size"] for e in entries] == [[40, 50]] * 2


def test_masks_are_compared_and_not_boxes(data):
    """The right boxes with masks that fill them: discs cover pi / 4 of a box, under an IoU of 0.8."""

    class Filled(Perfect):
        def masks(self, outputs, found):
            return [torch.ones(2, 28, 28), torch.zeros(0, 28, 28)]

    task = InstanceSegmentation(data)
    samples, batch = batch_of(data)
    meter = task.meter(samples)
    meter.update(task.predict(Filled(), batch), task.truths(samples, batch))
    scores = dict(zip(meter.scores().names, meter.scores().value, strict=True))
    assert scores["ap50"] == pytest.approx(1)
    assert scores["mean_ap"] < 0.75


def test_masks_are_drawn_over_the_frame(data):
    task = InstanceSegmentation(data)
    frame = data.source.frames("train")[0]
    found = task.predict(Perfect(), batch_of(data)[1])[0]
    drawn, plain = task.draw(frame, found), task.draw(frame, [])
    scale = drawn.shape[0] / 40
    middle = drawn[round(12 * scale), round(15 * scale)].astype(int)
    assert middle.sum() > plain[round(12 * scale), round(15 * scale)].astype(int).sum()


def test_a_detector_without_masks_is_refused(data):
    with pytest.raises(InputError, match="model=mask_rcnn"):
        InstanceSegmentation(data).predict(SimpleNamespace(), batch_of(data)[1])


def test_what_masks_cannot_yet_is_refused_by_one_line(data):
    task = InstanceSegmentation(data)
    with pytest.raises(InputError, match="masks are made of the boxes that the last suppression keeps"):
        task.deployed(Perfect())
    batch = batch_of(data)[1]
    with pytest.raises(InputError, match="cannot be labels yet"):
        task.pseudo_labelled(Perfect(), batch, batch, 0.5)


def test_an_object_without_a_mask_is_refused():
    class Boxes(Discs):
        masks = False

    with pytest.raises(InputError, match="an object has no mask"):
        PerceptionData(Boxes(), InstanceView(50, 40), progress=False).split("train")


def test_mosaics_are_refused(data):
    with pytest.raises(InputError, match=r"augmentation\.mosaic is 0\.5, but masks"):
        batch_of(data, DetectionAugmentation(mosaic=0.5))
