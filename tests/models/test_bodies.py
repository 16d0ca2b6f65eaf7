import pytest
import torch
from torch import nn

from deeprob.errors import InputError
from deeprob.models.bodies import BODIES, CompactBody, ResNetBody, body_of
from deeprob.models.resnet import ResNet

USUAL = {"stem": None, "fused": False, "in_channels": 3, "backend": "deeprob"}


@pytest.mark.parametrize("name", [name for name in BODIES if name not in ("resnet34", "resnet50")])
def test_every_body_says_what_maps_it_gives(name):
    body = body_of(name, None, None, **USUAL).eval()
    maps = body(torch.zeros(1, 3, 64, 96))
    for x, stride, channels in zip(maps, body.strides, body.channels, strict=True):
        assert x.shape == (1, channels, 64 // stride, 96 // stride)


@pytest.mark.parametrize("fused", [False, True])
def test_the_last_map_is_what_the_classifier_reads(fused):
    torch.manual_seed(0)
    options = {"blocks": (1, 2, 1), "width": 4, "fused": fused, "zero_init": False}
    body, whole = ResNetBody(**options).eval(), ResNet(3, **options).eval()
    whole.load_state_dict(body.state_dict(), strict=False)
    x = torch.randn(2, 3, 64, 64)
    logits = whole.fc(body(x)[-1].mean((2, 3)))
    torch.testing.assert_close(whole(x), logits)


@pytest.mark.parametrize("options", [{"fused": True}, {"stem": "patch"}, {"separable": True}])
def test_gradients_are_those_of_torchs_layers(options):
    torch.manual_seed(0)
    sizes = {"widths": (8, 16), "blocks": (1, 2)}
    ours = CompactBody(**sizes, **options).double()
    theirs = CompactBody(**sizes, **options | {"fused": False}, backend="torch").double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    for body in (ours, theirs):
        sum(m.square().sum() for m in body(x)).backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_the_patch_stem_looks_around_its_cell_alike_on_all_sides():
    """A point in the middle of cell 2 reaches the cells around it alike."""
    body = CompactBody((8,), (0,), "patch")
    conv = body.stages[0][0][0]
    nn.init.ones_(conv.weight)
    x = torch.zeros(1, 3, 24, 24)
    x[..., 9:11, 9:11] = 1
    assert conv(x)[0, 0, 2].tolist() == [0, 6, 12, 6, 0, 0]  # of three colours


def test_one_number_of_blocks_a_stage():
    with pytest.raises(InputError, match=r"blocks=\[1\] for widths=\[8, 8\]; expected one a stage"):
        CompactBody((8, 8), (1,))


def test_an_unknown_stem_is_refused():
    with pytest.raises(InputError, match="stem='three'; expected two or patch"):
        CompactBody(stem="three")
