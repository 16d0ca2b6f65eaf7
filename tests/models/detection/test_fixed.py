"""A two-stage detector as a graph of fixed length finds what the detector finds."""

import pytest
import torch

from deeprob.models.detection.contract import Detections
from deeprob.models.detection.decode import suppress
from deeprob.models.detection.faster_rcnn import FasterRCNN
from deeprob.models.detection.fixed import aligned, fixed_candidates


@pytest.fixture(scope="module", params=[False, True], ids=["cells", "corners"])
def detector(request):
    torch.manual_seed(0)
    small = {"widths": (8, 8, 8, 8), "blocks": (0, 0, 0, 0), "width": 8, "roi_convs": 1}
    made = FasterRCNN(3, **small, strides=(4, 8), rpn_before=30, rpn_after=20, corners=request.param)
    for module in (made.rpn.head.cls_logits, made.rpn.head.bbox_pred, made.roi_heads.box_predictor.cls_score):
        torch.nn.init.normal_(module.weight, std=0.3)
    return made.eval()


def test_the_same_boxes_are_found(detector):
    images = torch.rand(2, 3, 48, 64)
    with torch.no_grad():
        expected = detector.detect(detector(images))
        found = fixed_candidates(detector, images)
    for i, of_image in enumerate(expected):
        own = Detections(*(t[i] for t in found))
        kept = own.scores > detector.decoding.score_threshold
        decoded = suppress(Detections(*(t[kept] for t in own)), detector.decoding)
        assert len(of_image.scores) > 3
        torch.testing.assert_close(decoded.scores, of_image.scores, atol=1e-5, rtol=0)
        torch.testing.assert_close(decoded.boxes, of_image.boxes, atol=1e-3, rtol=0)
        assert decoded.labels.tolist() == of_image.labels.tolist()


def test_features_are_those_of_roi_align(detector):
    levels = [torch.randn(2, 8, 12, 16), torch.randn(2, 8, 6, 8)]
    boxes = torch.tensor([[-0.5, -0.5, 20, 11], [3, 4, 63.5, 47.5], [30, 30, 33, 47]]).repeat(2, 1, 1)
    rois = torch.cat([torch.arange(2.0).repeat_interleave(3)[:, None], boxes.flatten(0, 1)], 1)
    head = detector.roi_heads
    found = aligned(levels, boxes, head.strides, head.cells, head.corners)
    torch.testing.assert_close(found.flatten(0, 1), head.align(levels, rois), atol=1e-5, rtol=1e-5)
