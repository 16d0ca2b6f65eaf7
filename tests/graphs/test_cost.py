"""What is predicted of a training step is what is measured."""

import pytest
import torch
from torch import nn

from deeprob import layers
from deeprob.errors import InputError
from deeprob.graphs.cost import predict, rows, state_copies, summary, training_step
from deeprob.graphs.flops import FlopCounter
from deeprob.models.alexnet import AlexNet
from deeprob.models.cnn import CNN
from deeprob.models.detection.faster_rcnn import FasterRCNN
from deeprob.models.detection.fcos import FCOS
from deeprob.models.mlp import MLP
from deeprob.models.pointnet import PointNet
from deeprob.models.resnet import ResNet
from deeprob.models.segmentation.unet import UNet
from deeprob.models.vit import ViT

VIT = {"dim": 48, "depth": 2, "heads": 3, "image_size": 16}
NETWORKS = {
    "mlp": (lambda **kw: MLP(5, **kw), (3, 32, 32), 64),
    "alexnet": (lambda **kw: AlexNet(5, variant="small", width=8, hidden=64, **kw), (3, 16, 16), 8),
    "cnn": (lambda **kw: CNN(5, widths=[16, 24], dropout=0.3, input_norm=True, **kw), (3, 16, 16), 8),
    "cnn places": (lambda **kw: CNN(5, [16, 24], input_norm=True, in_channels=5, **kw), (5, 16, 16), 8),
    "resnet": (lambda **kw: ResNet(5, (1, 1), width=8, stem="small", **kw), (3, 16, 16), 8),
    "bottleneck": (lambda **kw: ResNet(5, (1, 1), "bottleneck", width=8, fused=True, **kw), (3, 32, 32), 8),
    "unet": (lambda **kw: UNet(5, **kw), (3, 48, 64), 8),
    "fcos": (lambda **kw: FCOS(5, width=16, **kw), (3, 64, 64), 8),
    "faster_rcnn": (lambda **kw: FasterRCNN(5, width=16, **kw), (3, 64, 64), 8),
    "pointnet": (lambda **kw: PointNet(5, width=8, features=32, **kw), (64, 3), 8),
    "vit": (lambda **kw: ViT(5, **VIT, dropout=0.1, drop_path=0.1, **kw), (3, 16, 16), 8),
    "vit fused": (lambda **kw: ViT(5, **VIT, fused=True, pool="mean", **kw), (3, 16, 16), 8),
}
LARGE = {
    "alexnet_imagenet": (lambda **kw: AlexNet(10, **kw), (3, 224, 224), 4),
    "cnn": (lambda **kw: CNN(10, **kw), (3, 32, 32), 64),
    "resnet18": (lambda **kw: ResNet(10, stem="small", **kw), (3, 32, 32), 16),
    "resnet50": (lambda **kw: ResNet(10, (3, 4, 6, 3), "bottleneck", fused=True, **kw), (3, 96, 96), 8),
    "vit_tiny": (
        lambda **kw: ViT(10, patch=16, dim=192, depth=12, heads=3, fused=True, image_size=128, **kw),
        (3, 128, 128),
        8,
    ),
}


def measured_saved(model, images):
    """Bytes that a forward keeps for its backward, each storage once, beyond parameters and buffers."""
    known = {t.untyped_storage().data_ptr() for t in model.state_dict().values()}
    sizes = {}

    def pack(t):
        storage = t.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        output = model(images)  # kept: memory that is freed would be counted again
    del output
    return sum(sizes.values())


def measured_peak(model, images):
    """The highest sum of what the allocator gave and took back at any moment of two steps."""
    training_step(model, images)  # what is made once, such as compiled loops
    model.zero_grad()
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        for _ in range(2):
            training_step(model, images)
    events = [e for e in profile.kineto_results.events() if e.name() == "[memory]"]
    total = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        total += event.nbytes()
        peak = max(peak, total)
    return peak


def agrees(make, shape, batch_size, **options):
    torch.manual_seed(0)
    model = make(**options)
    cost = predict(model, shape, batch_size)
    images = torch.randn(batch_size, *shape)
    assert cost.saved_bytes == pytest.approx(measured_saved(model, images), rel=0.1)
    assert cost.step_bytes == pytest.approx(measured_peak(model, images), rel=0.1)
    with FlopCounter() as counter:
        training_step(model, images)
    assert cost.step_flops == counter.get_total_flops()
    assert cost.flops < cost.step_flops < 3.2 * cost.flops


@pytest.mark.parametrize("name", list(NETWORKS))
def test_memory_is_within_a_tenth_of_what_is_measured_and_flops_are_the_same(name):
    agrees(*NETWORKS[name])


@pytest.mark.parametrize("name", ["cnn", "vit"])
def test_the_same_holds_for_torchs_own_layers(name):
    agrees(*NETWORKS[name], backend="torch")


@pytest.mark.slow
@pytest.mark.parametrize("name", list(LARGE))
def test_the_same_holds_at_full_size(name):
    agrees(*LARGE[name])


def test_flops_and_parameters_are_those_of_the_formula():
    cost = predict(MLP(5, widths=[64], norm="none", image_size=8), (3, 8, 8), 16)
    assert cost.parameters == cost.trained == 192 * 64 + 64 + 64 * 5 + 5
    assert cost.flops == 16 * 2 * (192 * 64 + 64 * 5)
    assert cost.step_flops == 16 * 2 * (2 * 192 * 64 + 3 * 64 * 5)  # the images need no gradient
    assert cost.weight_bytes == 4 * cost.parameters
    assert cost.saved_bytes == 16 * 4 * (192 + 64)


def test_the_model_and_the_random_state_stay_as_they_are():
    model = CNN(5, widths=[8], dropout=0.5).eval()
    before, state = {k: t.clone() for k, t in model.state_dict().items()}, torch.get_rng_state()
    predict(model, (3, 8, 8), 4)
    torch.testing.assert_close(model.state_dict(), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    x = torch.randn(4, 3, 8, 8)
    assert torch.isfinite(layers.max_pool2d(x, 2)).all()  # the loops run again


def test_a_large_batch_costs_no_memory():
    cost = predict(ViT(5, **VIT, backend="torch"), (3, 16, 16), 1_000_000)
    assert cost.peak_bytes() > 10**11


def test_a_frozen_body_keeps_less_and_costs_less():
    model = CNN(5, widths=[8, 8], norm=False)
    whole = predict(model, (3, 16, 16), 8)
    model.stages.requires_grad_(False)
    frozen = predict(model, (3, 16, 16), 8)
    assert frozen.trained == 8 * 5 + 5
    assert frozen.saved_bytes < whole.saved_bytes / 10
    assert frozen.step_flops < whole.step_flops / 2
    assert "of them frozen" in summary(frozen, 1.0)[0]


def test_mixed_precision_keeps_less():
    model = CNN(5, widths=[16, 16])
    assert (
        predict(model, (3, 16, 16), 8, "bf16-mixed").saved_bytes < predict(model, (3, 16, 16), 8).saved_bytes
    )


@pytest.mark.parametrize(
    ("make", "copies"),
    [
        (lambda groups: torch.optim.SGD(groups, lr=0.1), 0),
        (lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9), 1),
        (lambda groups: torch.optim.AdamW(groups), 2),
    ],
)
def test_an_optimisers_state_is_counted_in_copies_of_the_parameters(make, copies):
    assert state_copies(make) == copies
    cost = predict(MLP(5, widths=[8], image_size=8), (3, 8, 8), 2)
    assert cost.peak_bytes(copies) - cost.peak_bytes() == copies * 4 * cost.trained


def test_the_table_adds_up():
    cost = predict(ResNet(5, (1, 1), width=8, stem="small"), (3, 16, 16), 4)
    table = rows(cost, depth=1)
    assert [row[0] for row in table if row[1] == "7 layers"] == ["layer1"]
    assert sum(int(row[3].replace(",", "")) for row in table) == cost.parameters
    assert sum(float(row[4]) for row in table) == pytest.approx(cost.flops / 4e6, abs=0.1)
    assert f"{cost.parameters:,} parameters" in summary(cost, 0.0)[0]


def test_a_network_of_someone_elses_is_told_too():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 2))
    cost = predict(model, (3, 2, 2), 4)
    assert cost.saved_bytes == measured_saved(model, torch.randn(4, 3, 2, 2))


def test_images_that_the_network_refuses_are_one_line():
    with pytest.raises(InputError, match=r"expected \(3, 32, 32\)"):
        predict(MLP(5), (3, 16, 16), 4)


def test_an_unknown_precision_is_one_line():
    with pytest.raises(InputError, match="expected 32-true bf16-mixed 16-mixed"):
        predict(MLP(5), (3, 32, 32), 4, "8-true")


def test_a_model_without_weights_is_one_line():
    with pytest.raises(InputError, match="Flatten has no weights to train"):
        predict(nn.Flatten(), (3, 4, 4), 4)
