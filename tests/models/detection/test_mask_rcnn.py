from types import SimpleNamespace

import pytest
import torch
from torch import nn

from deeprob.errors import InputError
from deeprob.models.detection.boxes import iou
from deeprob.models.detection.contract import Detections
from deeprob.models.detection.mask_rcnn import MaskRCNN

from . import torchvision_mask_rcnn
from .conftest import nothing
from .test_faster_rcnn import NARROW, PUBLISHED, TINY, images

OPTIONS = {"mask_width": 256, "mask_norm": False}
SMALL = TINY | {"mask_width": 8, "mask_convs": 1}


def masked(targets, size=(64, 80)):
    """The targets, each object an ellipse in its box."""
    y, x = torch.meshgrid(*(torch.arange(float(side)) for side in size), indexing="ij")

    def ellipse(box):
        middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        return ((x - middle[0]) / half[0]) ** 2 + ((y - middle[1]) / half[1]) ** 2 <= 1

    masks = [
        torch.stack([ellipse(b) for b in of]) if len(of) else torch.zeros(0, *size) for of in targets.boxes
    ]
    return SimpleNamespace(**targets._asdict(), masks=masks)


def test_names_and_shapes_are_those_of_torchvisions_weights():
    with torch.device("meta"):
        ours, theirs = MaskRCNN(90, **PUBLISHED, **OPTIONS), torchvision_mask_rcnn.MaskRCNN(91)
    shapes = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in ours.state_dict().items()} == shapes
    norms = sum(p.numel() for name, p in ours.backbone.body.named_parameters() if p.dim() == 1)
    assert sum(p.numel() for p in ours.parameters()) - norms == 44_401_393  # as published, its norms frozen


def test_masks_are_torchvisions():
    torch.manual_seed(0)
    ours = MaskRCNN(3, **NARROW, mask_width=6, mask_norm=False)
    theirs = torchvision_mask_rcnn.MaskRCNN(4, (1, 1, 1, 1), 4, 8, 16, out=8, masks=6)
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.2)
    theirs.load_state_dict(ours.state_dict())
    ours, theirs = ours.double().eval(), theirs.double().eval()
    x = images(2, (64, 96)).double()
    boxes = torch.tensor([[3.2, 4.1, 30.7, 20.3], [10.0, 8.5, 90.2, 60.9], [50.1, 2.0, 61.3, 55.5]]).double()
    labels = torch.tensor([0, 2, 1])
    found = [Detections(boxes, torch.ones(3), labels), Detections(boxes[:0], torch.ones(0), labels[:0])]
    masks = ours.masks(ours(x), found)
    wanted = theirs.masks_in(0, theirs.backbone(x), boxes + 0.5, labels + 1)
    torch.testing.assert_close(masks[0], wanted)
    assert masks[1].shape == (0, 28, 28)


def test_the_terms_are_the_detectors_and_the_masks(targets):
    torch.manual_seed(0)
    model = MaskRCNN(**SMALL)
    terms = model.losses(model(images()), masked(targets))
    assert terms.keys() == {"rpn_objectness", "rpn_boxes", "classes", "boxes", "masks"}
    assert 0.3 < float(terms["masks"].detach()) < 2
    terms["masks"].backward()
    head = dict(model.roi_heads.named_parameters())
    assert all(head[name].grad.any() for name in head if name.startswith("mask_"))


def test_gradients_of_all_weights_are_those_of_torchs_layers(targets):
    torch.manual_seed(0)
    ours, theirs = MaskRCNN(**SMALL).double(), MaskRCNN(**SMALL, backend="torch").double()
    theirs.load_state_dict(ours.state_dict())
    for model in (ours, theirs):
        torch.manual_seed(1)  # the anchors and proposals that are drawn
        sum(model.losses(model(images().double()), masked(targets)).values()).backward()
    wanted = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, wanted[name].grad, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_a_batch_without_an_object_trains_on():
    torch.manual_seed(0)
    model = MaskRCNN(**SMALL)
    terms = model.losses(model(images(2)), masked(nothing()))
    sum(terms.values()).backward()
    assert terms["masks"] == 0


def test_samples_without_masks_are_refused(targets):
    model = MaskRCNN(**SMALL)
    with pytest.raises(InputError, match=r"no masks.*data/view=instances"):
        model.losses(model(images()), targets)


@pytest.mark.slow
def test_masks_of_four_images_are_overfit(squares):
    """Discs in place of squares: a mask that fills its box would have an IoU of pi / 4."""
    torch.manual_seed(0)
    model = MaskRCNN(3, widths=(16,) * 3, blocks=(1,) * 3, width=32, roi_convs=1, mask_width=16, mask_convs=2)
    x, targets = squares()
    objects = masked(targets, x.shape[2:])
    for image, masks in zip(x, objects.masks, strict=True):
        image *= masks.any(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(160):
        optimizer.zero_grad()
        sum(model.losses(model(x), objects).values()).backward()
        optimizer.step()
    outputs = model.eval()(x)
    found = model.detect(outputs)
    for i, masks in enumerate(model.masks(outputs, found)):
        assert iou(found[i].boxes[0], targets.boxes[i][0]) > 0.7
        assert abs(float((masks[0] > 0.5).float().mean()) - torch.pi / 4) < 0.08
        assert masks[0, 0, 0] < 0.5 < masks[0, 14, 14]
