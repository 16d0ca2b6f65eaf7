import pytest
import torch
from torch import nn

from deeprob.errors import InputError
from deeprob.models.detection.boxes import iou
from deeprob.models.detection.faster_rcnn import FasterRCNN, refined

from . import torchvision_faster_rcnn
from .conftest import nothing

PUBLISHED = {
    "backbone": "resnet50",
    "strides": (4, 8, 16, 32, 64),
    "width": 256,
    "neck_norm": False,
    "anchor_scale": 8,
    "rpn_high": 0.7,
    "rpn_samples": 256,
    "rpn_before": 1000,
    "rpn_after": 1000,
    "roi_cells": 28,
    "roi_features": 1024,
    "roi_samples": 512,
    "corners": True,
}
NARROW = PUBLISHED | {
    "blocks": (1, 1, 1, 1),
    "widths": (4,),
    "width": 8,
    "rpn_before": 30,
    "rpn_after": 20,
    "roi_features": 16,
}
TINY = {"num_classes": 3, "widths": (8, 8, 8), "blocks": (1, 1, 1), "width": 8, "roi_convs": 1}


def images(count=4, size=(64, 80)):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def twins():
    """Ours and theirs, of the same weights."""
    torch.manual_seed(0)
    ours = FasterRCNN(3, **NARROW)
    theirs = torchvision_faster_rcnn.FasterRCNN(4, (1, 1, 1, 1), 4, 8, 16)
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.2)
    theirs.load_state_dict(ours.state_dict())
    return ours.double().eval(), theirs.double().eval()


def test_names_and_shapes_are_those_of_torchvisions_weights():
    with torch.device("meta"):
        ours, theirs = FasterRCNN(90, **PUBLISHED), torchvision_faster_rcnn.FasterRCNN(91)
    shapes = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in ours.state_dict().items()} == shapes
    norms = sum(p.numel() for name, p in ours.backbone.body.named_parameters() if p.dim() == 1)
    assert sum(p.numel() for p in ours.parameters()) - norms == 41_755_286  # as published, its norms frozen


def test_both_stages_say_what_torchvisions_say(twins, oracle):
    ours, theirs = twins
    x = images(2, (64, 96)).double()
    outputs = ours(x)
    found = theirs.detect(x, oracle, NARROW["rpn_before"], NARROW["rpn_after"])
    _, logits, deltas, _ = theirs.first_stage(x)
    torch.testing.assert_close(outputs.proposals.objectness, torch.cat(logits, 1))
    torch.testing.assert_close(outputs.proposals.deltas, torch.cat(deltas, 1))
    rois = torch.cat([boxes for boxes, *_ in found])
    torch.testing.assert_close(outputs.proposals.rois[:, 1:] + 0.5, rois, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        outputs.verdicts.logits, torch.cat([verdict for _, verdict, *_ in found]), rtol=1e-5, atol=1e-5
    )


def test_detections_are_torchvisions(twins, oracle):
    ours, theirs = twins
    x = images(2, (64, 96)).double()
    expected = theirs.detect(x, oracle, NARROW["rpn_before"], NARROW["rpn_after"])
    for got, (_, _, boxes, scores, labels) in zip(ours.detect(ours(x)), expected, strict=True):
        assert len(got.scores) > 5
        torch.testing.assert_close(got.boxes, boxes - 0.5, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(got.scores, scores)
        assert got.labels.tolist() == labels.tolist()


def test_training_and_evaluation_detect_alike():
    torch.manual_seed(0)
    model = FasterRCNN(**TINY, roi_features=8).eval()
    outputs = model(images())
    late = model.detect(outputs._replace(verdicts=None))
    for a, b in zip(model.detect(outputs), late, strict=True):
        torch.testing.assert_close(a.boxes, b.boxes)


def test_the_terms_are_those_of_both_stages(targets):
    torch.manual_seed(0)
    model = FasterRCNN(**TINY)
    terms = model.losses(model(images()), targets)
    assert terms.keys() == {"rpn_objectness", "rpn_boxes", "classes", "boxes"}
    sum(terms.values()).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize("options", [{}, {"roi_features": 8, "ratios": (1.0,)}])
def test_gradients_of_all_weights_are_those_of_torchs_layers(targets, options):
    torch.manual_seed(0)
    ours = FasterRCNN(**TINY | options).double()
    theirs = FasterRCNN(**TINY | options, backend="torch").double()
    theirs.load_state_dict(ours.state_dict())
    for model in (ours, theirs):
        torch.manual_seed(1)  # the anchors and proposals that are drawn
        sum(model.losses(model(images().double()), targets).values()).backward()
    wanted = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, wanted[name].grad, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_a_batch_without_a_box_trains_on():
    torch.manual_seed(0)
    model = FasterRCNN(**TINY)
    terms = model.losses(model(images(2)), nothing())
    sum(terms.values()).backward()
    assert terms["boxes"] == terms["rpn_boxes"] == 0
    assert terms["classes"] > 0
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_the_usual_detector_has_fewer_than_a_million_parameters():
    assert 800_000 < sum(p.numel() for p in FasterRCNN(5).parameters()) < 1_000_000


def test_one_side_of_anchors_a_level():
    with pytest.raises(InputError, match=r"anchor_sides=\[8\]; expected 3, one a level"):
        FasterRCNN(**TINY, anchor_sides=[8])


@pytest.mark.slow
def test_four_images_are_learned_by_heart(squares):
    torch.manual_seed(0)
    model = FasterRCNN(3, widths=(16,) * 3, blocks=(1,) * 3, width=32, roi_convs=1)
    x, targets = squares()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(160):
        optimizer.zero_grad()
        sum(model.losses(model(x), targets).values()).backward()
        optimizer.step()
    for i, found in enumerate(model.eval().detect(model(x))):
        assert found.labels[0] == targets.labels[i][0]
        assert found.scores[0] > 0.5
        assert iou(found.boxes[0], targets.boxes[i][0]) > 0.7


def test_each_head_of_a_cascade_learns_from_the_boxes_of_the_one_before(targets):
    torch.manual_seed(0)
    model = FasterRCNN(**TINY, cascade=(0.6, 0.7))
    terms = model.losses(model(images()), targets)
    assert [name for name in terms if name.startswith("boxes")] == ["boxes", "boxes_2", "boxes_3"]
    terms["classes_3"].backward()
    last = [head.box_predictor.cls_score.weight.grad for head in model.cascade]
    assert last[0] is None
    assert last[1].abs().sum() > 0
    assert next(model.backbone.parameters()).grad.abs().sum() > 0


def test_a_cascade_says_the_mean_of_its_heads_about_the_last_boxes():
    torch.manual_seed(0)
    model = FasterRCNN(**TINY, cascade=(0.6,)).eval()
    one = FasterRCNN(**TINY).eval()
    one.load_state_dict(model.state_dict(), strict=False)
    x = images(1)
    first, both = one(x), model(x)
    rois = refined(first.proposals.rois, first.verdicts)
    torch.testing.assert_close(both.proposals.rois, rois)
    assert not torch.equal(rois, first.proposals.rois)
    second = model.cascade[0](first.levels, rois)
    mean = (first.verdicts.logits.softmax(1) + second.logits.softmax(1)) / 2
    torch.testing.assert_close(both.verdicts.logits.softmax(1), mean)
    torch.testing.assert_close(both.verdicts.deltas, second.deltas)


def test_a_cascade_that_asks_for_more_than_all_overlap_is_refused():
    with pytest.raises(InputError, match=r"cascade=\[1.2\]"):
        FasterRCNN(**TINY, cascade=(1.2,))
