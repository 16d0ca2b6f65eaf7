import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from deeprob import layers
from deeprob.errors import InputError
from deeprob.models.detection.assignment import IGNORED
from deeprob.models.detection.fcos import FCOS, mean_of, spread_loss

from . import torchvision_fcos
from .conftest import nothing

PUBLISHED = {
    "backbone": "resnet50",
    "strides": (8, 16, 32, 64, 128),
    "width": 256,
    "neck_norm": False,
    "head_convs": 4,
    "head_norm": "group",
    "share_heads": True,
    "scales": False,
    "kernel": 3,
    "distance": "relu",
    "corners": True,
    "score_threshold": 0.2,
    "candidates": 1000,
    "max_detections": 1000,  # of which torchvision's 100 are the first; it counts boxes without area, too
}
NARROW = PUBLISHED | {"blocks": (1, 1, 1, 1), "widths": (8,), "width": 32}
NANO = {"backbone": "separable", "separable": True}
TINY = {"num_classes": 3, "widths": (8, 8, 8, 8), "blocks": (1, 1, 1, 1), "width": 8}
SIZE = (64, 80)


def images(count=4, size=SIZE):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def twins():
    """Ours and theirs, of the same weights, none of which is zero or so small that all scores are alike."""
    torch.manual_seed(0)
    ours, theirs = FCOS(3, **NARROW), torchvision_fcos.FCOS(3, (1, 1, 1, 1), 8, 32)
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.2)
    theirs.load_state_dict(ours.state_dict())
    return ours.double().eval(), theirs.double().eval()


def test_names_and_shapes_are_those_of_torchvisions_weights():
    with torch.device("meta"):
        ours, theirs = FCOS(91, **PUBLISHED), torchvision_fcos.FCOS(91)
    shapes = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in ours.state_dict().items()} == shapes
    norms = sum(p.numel() for name, p in ours.backbone.body.named_parameters() if p.dim() == 1)
    assert sum(p.numel() for p in ours.parameters()) - norms == 32_269_600  # as published, its norms frozen


@pytest.mark.parametrize("size", [(64, 96), (96, 64)])
def test_logits_and_centre_ness_are_torchvisions(twins, size):
    ours, theirs = twins
    x = images(2, size).double()
    got, (logits, _, quality, _) = ours(x), theirs(x)
    torch.testing.assert_close(got.logits, torch.cat(logits, 1))
    torch.testing.assert_close(got.quality, torch.cat(quality, 1).squeeze(2))


def test_detections_are_torchvisions(twins, oracle):
    ours, theirs = twins
    x = images(2, (64, 96)).double()
    expected = theirs.detect(x, oracle, most=1000)
    for got, (boxes, scores, labels) in zip(ours.detect(ours(x)), expected, strict=True):
        seen = (boxes[:, 2:] > boxes[:, :2]).all(1)
        assert 5 < len(got.scores) == seen.sum()
        torch.testing.assert_close(got.boxes, boxes[seen] - 0.5, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(got.scores, scores[seen])
        assert got.labels.tolist() == labels[seen].tolist()


def reference_losses(logits, boxes, quality, assigned):
    """The equations at the head of fcos.py, location by location, in plain torch."""
    focal = giou = cross_entropy = 0.0
    positives = weights = 0.0
    for n in range(len(logits)):
        for i in range(logits.shape[1]):
            label = int(assigned.labels[n, i])
            if label == IGNORED:
                continue
            for c in range(logits.shape[2]):
                p = logits[n, i, c].sigmoid()
                right, alpha = (p, 0.25) if label == c else (1 - p, 0.75)
                focal = focal - alpha * (1 - right) ** 2 * right.log()
            if label < 0:
                continue
            a, b, true = boxes[n, i], assigned.boxes[n, i], assigned.quality[n, i]
            low, high = torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])
            common = (high - low).clamp_min(0).prod()
            union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - common
            hull = (torch.maximum(a[2:], b[2:]) - torch.minimum(a[:2], b[:2])).prod()
            giou = giou + true * (1 - common / union + (hull - union) / hull)
            s = quality[n, i].sigmoid()
            cross_entropy = cross_entropy - true * s.log() - (1 - true) * (1 - s).log()
            positives, weights = positives + 1, weights + true
    return {"classes": focal / positives, "boxes": giou / weights, "centre_ness": cross_entropy / positives}


@pytest.mark.parametrize("rule", ["centre", "atss"])
def test_losses_and_their_gradients_are_those_of_the_equations(targets, rule):
    torch.manual_seed(0)
    model = FCOS(**TINY, assignment=rule)
    outputs = model(images())
    learned = {"logits", "boxes", "quality"}
    leaves = [getattr(outputs, name).detach().clone().requires_grad_() for name in sorted(learned)]
    outputs = outputs._replace(**dict(zip(sorted(learned), leaves, strict=True)))
    assigned = model.assign(outputs, targets)
    got = model.losses(outputs, targets)
    expected = reference_losses(outputs.logits, outputs.boxes, outputs.quality, assigned)
    assert got.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=1e-4, atol=1e-5)
    for a, b in zip(
        torch.autograd.grad(sum(got.values()), leaves),
        torch.autograd.grad(sum(expected.values()), leaves),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_aligned_losses_are_those_of_the_equations(targets):
    torch.manual_seed(0)
    model = FCOS(**TINY, assignment="tal", box_weight=2.5)
    outputs = model(images())
    assigned = model.assign(outputs, targets)
    got = model.losses(outputs, targets)
    counted = assigned.labels != IGNORED
    soft = nn.functional.one_hot(assigned.labels.clamp_min(0), 3) * assigned.quality[..., None]
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(outputs.logits, soft, reduction="none")
    total = assigned.quality.sum()
    torch.testing.assert_close(got["classes"], cross_entropy[counted].sum() / total.clamp_min(1))
    positive = assigned.labels >= 0
    giou = layers.generalized_box_iou_loss(outputs.boxes[positive], assigned.boxes[positive])
    torch.testing.assert_close(got["boxes"], 2.5 * (giou * assigned.quality[positive]).sum() / total)
    assert outputs.quality is None


@pytest.mark.parametrize(
    "options", [{}, {"fused": True}, {"bins": 8}, NANO, NARROW | {"width": 8, "scales": True}]
)
def test_gradients_of_all_weights_are_those_of_torchs_layers(targets, options):
    torch.manual_seed(0)
    arguments = TINY | options
    ours, theirs = FCOS(**arguments).double(), FCOS(**arguments | {"fused": False}, backend="torch").double()
    for parameter in ours.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.2)
    theirs.load_state_dict(ours.state_dict())
    for model in (ours, theirs):
        sum(model.losses(model(images().double()), targets).values()).backward()
    wanted = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, wanted[name].grad, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_the_mean_of_a_distribution_is_the_distance():
    spread = torch.full((4, 4), -50.0)
    spread[0, 3] = spread[1, 0] = spread[2, 1] = spread[2, 2] = spread[3, 1] = 0
    spread[3, 3] = torch.tensor(3.0).log()
    torch.testing.assert_close(mean_of(spread), torch.tensor([3.0, 0.0, 1.5, 2.5]))


def test_the_loss_of_distributions_is_that_of_the_two_bins_next_to_the_distance():
    torch.manual_seed(0)
    spread, weight = torch.randn(2, 4, 5), torch.tensor([1.0, 0.5])
    points, strides = torch.tensor([[10.0, 10.0], [50.0, 50.0]]), torch.tensor([[4.0], [8.0]])
    boxes = torch.tensor([[5.0, 10, 13, 26], [0.0, 49, 58, 90]])
    distances = [[1.25, 0, 0.75, 4], [4, 0.125, 1, 4]]  # in strides; longer ones count as the last bin
    expected = 0.0
    for i, of_location in enumerate(distances):
        for side, d in enumerate(of_location):
            low = min(int(d), 3)
            log_p = spread[i, side].log_softmax(0)
            expected -= weight[i] * ((low + 1 - d) * log_p[low] + (d - low) * log_p[low + 1]) / 4
    torch.testing.assert_close(spread_loss(spread, boxes, points, strides, weight), expected)


class Watch(TorchDispatchMode):
    """Names of all operations that run inside."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(str(function))
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("rule", ["centre", "tal"])
def test_no_gradient_is_torchs(targets, rule):
    model = FCOS(**TINY, assignment=rule, bins=8)
    loss = sum(model.losses(model(images()), targets).values())
    with Watch() as watch:
        loss.backward()
    assert "aten.mul.Tensor" in watch.names
    assert not [name for name in watch.names if "_backward" in name]


@pytest.mark.parametrize("rule", ["centre", "atss", "tal"])
def test_a_batch_without_a_box_trains_on(rule):
    torch.manual_seed(0)
    model = FCOS(**TINY, assignment=rule)
    terms = model.losses(model(images(2)), nothing())
    sum(terms.values()).backward()
    assert terms["classes"] > 0
    assert terms["boxes"] == 0
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients)
    assert any(g.any() for g in gradients)


def test_what_is_said_of_a_crowd_costs_nothing(targets):
    torch.manual_seed(0)
    model = FCOS(**TINY)
    outputs = model(images())
    ignored = model.assign(outputs, targets).labels == IGNORED
    assert ignored.any()
    louder = outputs._replace(logits=outputs.logits + 5 * ignored[..., None])
    torch.testing.assert_close(model.losses(louder, targets), model.losses(outputs, targets))


def test_boxes_are_taken_by_the_distances_in_strides():
    torch.manual_seed(0)
    model = FCOS(**TINY, distance="relu").eval()
    for head in model.head:
        nn.init.zeros_(head.regression_head.bbox_reg.weight)
        head.regression_head.bbox_reg.bias.data = torch.tensor([0.5, 1.0, 2.0, -1.0])
    outputs = model(images(1))
    reach = outputs.strides[:, None] * torch.tensor([-0.5, -1.0, 2.0, 0.0])
    torch.testing.assert_close(outputs.boxes[0], outputs.points.repeat(1, 2) + reach)


def test_every_class_starts_at_the_prior():
    torch.manual_seed(0)
    scores = FCOS(**TINY)(images()).logits.sigmoid()
    torch.testing.assert_close(scores.mean(), torch.tensor(0.01), rtol=0.1, atol=0)


def test_images_of_any_size_have_a_location_a_cell():
    model = FCOS(**TINY).eval()
    assert model(images(1, (65, 81))).logits.shape == (1, 9 * 11 + 5 * 6 + 3 * 3, 3)


def test_a_stride_4_level_is_an_option():
    outputs = FCOS(**TINY, strides=(4, 8, 16))(images(1))
    assert outputs.strides.unique().tolist() == [4, 8, 16]
    assert len(outputs.strides) == 16 * 20 + 8 * 10 + 4 * 5


def test_the_usual_detector_has_fewer_than_a_million_parameters():
    assert 900_000 < sum(p.numel() for p in FCOS(5).parameters()) < 1_000_000


def test_the_detector_for_a_robot_has_fewer_than_half_a_million():
    nano = FCOS(5, **NANO)
    assert 300_000 < sum(p.numel() for p in nano.parameters()) < 500_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backbone": "vgg"}, r"backbone='vgg'; expected one of compact, "),
        ({"strides": (8, 32)}, r"strides=\[8, 32\]; expected doubling strides from one of \[4, 8, 16, 32\]"),
        ({"strides": (2, 4)}, r"strides=\[2, 4\]"),
        ({"assignment": "nearest"}, r"assignment='nearest'; expected centre or atss or tal"),
        ({"distance": "exp"}, r"distance='exp'; expected softplus or relu"),
        ({"kernel": 2}, r"kernel=2; expected 1 or 3"),
        ({"head_norm": "layer"}, r"head_norm='layer'; expected group or batch"),
        ({"num_classes": 0}, r"num_classes=0; expected at least 1"),
        ({"blocks": (1,)}, r"blocks=\[1\] for widths="),
    ],
)
def test_wrong_arguments_say_what_was_expected(options, said):
    with pytest.raises(InputError, match=said):
        FCOS(**TINY | options)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["centre", "atss", "tal"])
def test_four_images_are_learned_by_heart(rule, squares):
    torch.manual_seed(0)
    model = FCOS(3, widths=(16,) * 4, blocks=(1,) * 4, width=32, assignment=rule)
    x, targets = squares()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        sum(model.losses(model(x), targets).values()).backward()
        optimizer.step()
    for i, found in enumerate(model.eval().detect(model(x))):
        assert found.labels[0] == targets.labels[i][0]
        assert found.scores[0] > 0.4
        assert (found.boxes[0] - targets.boxes[i][0]).abs().max() < 3
