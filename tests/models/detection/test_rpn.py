import math

import pytest
import torch

from deeprob.models.detection import matching
from deeprob.models.detection.assignment import truth_of
from deeprob.models.detection.rpn import BETA, Proposals, RegionProposalNetwork

LEVELS = [torch.randn(2, 4, 8, 10), torch.randn(2, 4, 4, 5)]
IMAGE = (64, 80)
MORE = {
    "low": 0.3,
    "high": 0.6,
    "samples": 10_000,
    "before": 50,
    "after": 20,
    "nms_iou": 0.7,
    "corners": False,
}


@pytest.fixture
def rpn():
    torch.manual_seed(0)
    return RegionProposalNetwork(4, (8, 16), (16.0, 40.0), (0.5, 1.0, 2.0), **MORE)


def smooth_l1(d):
    return d * d / (2 * BETA) if abs(d) < BETA else abs(d) - BETA / 2


def test_losses_are_those_of_the_papers_equations(rpn, targets):
    """With more samples than anchors, all positives are drawn, and all negatives."""
    said = rpn([torch.randn(4, *x.shape[1:]) for x in LEVELS], IMAGE)
    said = said._replace(deltas=said.deltas + torch.randn(said.deltas.shape), objectness=said.objectness - 1)
    matched = matching.match(truth_of(targets), said.anchors, 0.3, 0.6, keep_best=True)
    objectness = boxes = number = 0.0
    for image, of_image in enumerate(matched.tolist()):
        for n, g in enumerate(of_image):
            if g == matching.IGNORED:
                continue
            p = float(said.objectness[image, n].detach().sigmoid())
            objectness -= math.log(p if g >= 0 else 1 - p)
            number += 1
            if g < 0:
                continue
            (x1, y1, x2, y2), (u1, v1, u2, v2) = said.anchors[n].tolist(), targets.boxes[image][g].tolist()
            width, height = x2 - x1, y2 - y1
            wanted = [
                (u1 + u2 - x1 - x2) / 2 / width,
                (v1 + v2 - y1 - y2) / 2 / height,
                math.log((u2 - u1) / width),
                math.log((v2 - v1) / height),
            ]
            boxes += sum(
                smooth_l1(float(d.detach()) - w) for d, w in zip(said.deltas[image, n], wanted, strict=True)
            )
    got = rpn.losses(said, truth_of(targets), [torch.zeros(0, 4)] * 4)
    assert got["rpn_objectness"].item() == pytest.approx(objectness / number, rel=1e-4)
    assert got["rpn_boxes"].item() == pytest.approx(boxes / number, rel=1e-4)


def test_proposals_are_the_best_boxes_of_each_image_inside_it(rpn):
    rois = rpn(LEVELS, IMAGE).rois
    assert rois[:, 0].tolist() == sorted(rois[:, 0].tolist())
    assert 2 <= len(rois) <= 40
    assert rois[:, 1:].min() >= -0.5
    assert rois[:, [1, 3]].max() <= 79.5
    assert rois[:, [2, 4]].max() <= 63.5


def test_a_box_said_twice_on_one_level_is_proposed_once(rpn):
    anchors = torch.tensor([[0.0, 0, 20, 20], [1.0, 0, 21, 20], [30.0, 30, 50, 50], [0.0, 0, 20, 20]])
    logits, deltas = torch.tensor([[0.2, 0.9, 0.5, 0.1]]), torch.zeros(1, 4, 4)
    rois = rpn.propose(logits, deltas, anchors, [3, 1], IMAGE)
    assert rois[:, 1].tolist() == [1, 30, 0]  # best first; the last is on another level


def test_nothing_flows_through_the_proposals(rpn):
    said = rpn(LEVELS, IMAGE)
    assert isinstance(said, Proposals)
    assert not said.rois.requires_grad
    assert said.deltas.requires_grad
