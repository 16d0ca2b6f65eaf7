"""Predictions as labels of pixels and boxes."""

from types import SimpleNamespace

import pytest
import torch

from deeprob.errors import InputError
from deeprob.models.detection.contract import Detections
from deeprob.tasks.detection.task import label_by_boxes
from deeprob.tasks.detection.view import DetectionBatch
from deeprob.tasks.pseudo_labels import check_places, label_by_class
from deeprob.tasks.segmentation.view import SegmentationBatch

EYE = torch.eye(3).double()[None]


def test_pixels_that_are_not_confident_have_no_label():
    logits = torch.tensor([[9.0, 0.1], [0.0, 0.0]]).view(1, 2, 1, 2)
    batch = SegmentationBatch(None, torch.zeros(1, 1, 2, dtype=torch.int64), EYE, None, torch.arange(1))
    found = label_by_class(logits, batch, 0.9, False, lambda p: p, ignored=255)
    assert found.batch.labels.tolist() == [[[0, 255]]]
    assert (float(found.share), float(found.right)) == (0.5, 0.5)


def boxes_of(*scores):
    boxes = torch.tensor([[0.0, 0, 4, 4], [10.0, 0, 14, 4]])[: len(scores)]
    return Detections(boxes, torch.tensor(scores), torch.zeros(len(scores), dtype=torch.int64))


def test_images_without_a_confident_box_are_left_out_and_crowds_are_not_looked_at():
    truth = torch.tensor([[0.0, 0, 4, 5]])
    batch = DetectionBatch(
        torch.zeros(3, 3, 16, 16),
        [truth] * 3,
        [torch.zeros(1, dtype=torch.int64)] * 3,
        [torch.ones(2, 4)] * 3,
        EYE.repeat(3, 1, 1),
        torch.arange(3),
    )
    found = label_by_boxes([boxes_of(0.9, 0.8), boxes_of(0.1), boxes_of()], batch, 0.5)
    assert found.batch.indices.tolist() == [0]
    assert found.batch.boxes[0].tolist() == [[0, 0, 4, 4], [10, 0, 14, 4]]
    assert found.batch.crowds[0].shape == (0, 4)
    assert float(found.share) == pytest.approx(1 / 3)
    assert float(found.right) == pytest.approx(1 / 6)  # one of the two boxes is on an object


def test_views_that_move_images_differently_are_refused():
    weak, strong = SimpleNamespace(matrices=EYE), SimpleNamespace(matrices=2 * EYE)
    check_places(weak, weak, soft=False)
    with pytest.raises(InputError, match="move images differently"):
        check_places(weak, strong, soft=False)
    with pytest.raises(InputError, match=r"objective\.soft=false"):
        check_places(weak, weak, soft=True)
