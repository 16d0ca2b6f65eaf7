import pytest
import torch

from deeprob.models.detection.assignment import truth_of
from deeprob.models.detection.boxes import iou
from deeprob.models.detection.roi_heads import WEIGHTS, RoIHeads, Verdicts, padded
from deeprob.models.detection.rpn import BETA

from .conftest import nothing

OPTIONS = {
    "cells": 14,
    "features": 8,
    "convs": 0,
    "samples": 1000,
    "share": 1.0,
    "iou": 0.5,
    "corners": False,
}


@pytest.fixture
def heads():
    torch.manual_seed(0)
    return RoIHeads(3, 2, (4, 8, 16), **OPTIONS)


def test_each_box_is_read_from_the_level_of_its_size(heads):
    levels = [torch.full((1, 2, 256 // s, 256 // s), float(s)) for s in (4, 8, 16)]
    sides = torch.tensor([3.0, 50.0, 57.0, 100.0, 113.0, 250.0])
    rois = torch.stack([torch.zeros(6), torch.zeros(6), torch.zeros(6), sides, sides], 1)
    features = heads.align(levels, rois)
    assert features.shape == (6, 2, 7, 7)
    torch.testing.assert_close(features.mean((1, 2, 3)), torch.tensor([4.0, 4, 8, 8, 16, 16]))


def test_a_box_is_read_where_it_lies(heads):
    """A level that holds its own x in pixels is read at the middles of the box's columns."""
    x = (torch.arange(64.0) + 0.5) * 4 - 0.5
    level = x.expand(1, 2, 64, 64)
    features = heads.align(
        [level, level[..., :32, :32], level[..., :16, :16]], torch.tensor([[0.0, 30, 30, 65, 65]])
    )
    torch.testing.assert_close(features[0, 0, 0], 30 + 5 * (torch.arange(7.0) + 0.5))


def test_true_boxes_and_what_overlaps_them_are_objects(heads, targets):
    near = torch.cat([torch.zeros(7, 1), targets.boxes[0] * 1.02], 1)
    far = torch.tensor([[1.0, 0, 0, 9, 9], [2.0, 70, 60, 75, 63]])
    drawn = heads.draw(torch.cat([near, far]), truth_of(targets), [torch.zeros(0, 4)] * 4)
    rois, labels, wanted, winner = drawn
    assert len(rois) == 7 + 2 + 11
    overlap = [iou(targets.boxes[int(roi[0])], roi[1:]) for roi in rois]
    rows = zip(overlap, labels, wanted, winner, rois[:, 0].long(), strict=True)
    for roi_overlap, label, box, number, image in rows:
        best = roi_overlap.max() if len(roi_overlap) else 0
        assert (label > 0) == (best >= 0.5)
        if label:
            assert targets.labels[image][roi_overlap.argmax()] == label - 1
            assert number == roi_overlap.argmax()
            assert torch.equal(box, targets.boxes[image][number])


def test_proposals_in_a_crowd_are_not_drawn(heads):
    crowd = nothing(1)._replace(crowds=[torch.tensor([[0.0, 0, 30, 30]])])
    rois = torch.tensor([[0.0, 5, 5, 20, 20], [0.0, 40, 40, 60, 60]])
    drawn, labels, *_ = heads.draw(rois, truth_of(crowd), crowd.crowds)
    assert drawn.tolist() == [[0, 40, 40, 60, 60]]
    assert labels.tolist() == [0]


def test_losses_are_those_of_the_papers_equations(heads):
    verdicts = Verdicts(torch.randn(3, 4), torch.randn(3, 4, 4))
    rois = torch.tensor([[0.0, 0, 0, 10, 20], [0, 5, 5, 25, 15], [0, 1, 1, 9, 9]])
    wanted = torch.tensor([[2.0, 2, 12, 42], [0, 0, 1, 1], [0, 0, 8, 8]])
    labels = torch.tensor([3, 0, 1])
    got = heads.losses(verdicts, rois, labels, wanted)
    classes = -sum(verdicts.logits.log_softmax(1)[i, label] for i, label in enumerate(labels)) / 3
    deltas = torch.tensor([[0.2, 0.6, 0.0, 0.0], [-1 / 8, -1 / 8, 0.0, 0.0]])
    deltas[0, 1] = (22 - 10) / 20
    deltas[0, 3] = torch.tensor(2.0).log()
    said = torch.stack([verdicts.deltas[0, 3], verdicts.deltas[2, 1]])
    boxes = torch.nn.functional.smooth_l1_loss(
        said, deltas * torch.tensor(WEIGHTS), beta=BETA, reduction="sum"
    )
    torch.testing.assert_close(got["classes"], classes)
    torch.testing.assert_close(got["boxes"], boxes / 3)


def test_rows_of_each_image_side_by_side():
    table, number = padded(torch.tensor([0, 2, 0, 2, 2]), 3)
    assert number.tolist() == [2, 0, 3]
    assert table[0, :2].tolist() == [0, 2]
    assert table[2].tolist() == [1, 3, 4]
