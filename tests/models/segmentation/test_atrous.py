import pytest
import torch
from torch import nn

from deeprob.errors import InputError
from deeprob.models.segmentation.atrous import AtrousSegmenter

from .torchvision_segmentation import Segmentation

SMALL = {"blocks": (1, 2, 2, 2), "rates": (2, 3)}


def small(head, **options):
    ours = {"widths": [4], "width": 6, "dropout": 0.0, **SMALL, **options}
    return AtrousSegmenter(3, head, "resnet50", **ours)


@pytest.mark.parametrize("head", ["deeplab", "fcn"])
def test_weights_of_torchvision_give_its_logits(head):
    torch.manual_seed(0)
    theirs = Segmentation(3, head, SMALL["blocks"], 4, 6, SMALL["rates"]).double()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    ours = small(head).double()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 41, 56, dtype=torch.float64)
    expected = theirs.eval()(images)
    torch.testing.assert_close(ours.eval()(images), expected[0], rtol=1e-10, atol=1e-10)
    for module in theirs.modules():  # what is dropped is drawn
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for module in ours.modules():
        if hasattr(module, "p"):
            module.p = 0.0
    logits, auxiliary = ours.train()(images)
    expected = theirs.train()(images)
    torch.testing.assert_close(logits, expected[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(auxiliary, expected[1], rtol=1e-9, atol=1e-9)


def test_the_published_network_has_the_published_names_and_sizes():
    with torch.device("meta"):
        ours, theirs = AtrousSegmenter(21), Segmentation(21, "deeplab")
    shapes = {name: p.shape for name, p in theirs.state_dict().items()}
    assert {name: p.shape for name, p in ours.state_dict().items()} == shapes


@pytest.mark.parametrize(("stride", "size"), [(8, (6, 7)), (16, (3, 4)), (32, (2, 2))])
def test_the_coarsest_map_has_the_output_stride(stride, size):
    body = small("fcn", output_stride=stride).backbone
    maps = body(torch.randn(1, 3, 41, 56))
    assert maps[-1].shape[2:] == size
    assert body.strides[-1] == stride


def test_both_backends_share_weights_outputs_and_gradients(compare, images):
    options = {"auxiliary": False, "widths": [4], "rates": (2,), "width": 6, "dropout": 0.0}
    options |= {"backbone": "resnet18", "output_stride": 16}
    ours, other = (AtrousSegmenter(3, "plus", **options, backend=b) for b in ("deeprob", "torch"))
    compare(ours, other, images(33))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backbone": "compact"}, "expected a residual network"),
        ({"output_stride": 4}, "expected one of|residual"),
        ({"output_stride": 7}, r"output_stride=7; expected one of \[4, 8, 16, 32\]"),
        ({"head": "psp"}, "head='psp'; expected fcn or deeplab or plus"),
        ({"window": [64]}, r"window=\[64\]; expected \[height, width\]"),
        ({"overlap": 1.0}, "overlap=1; expected 0 to under 1"),
    ],
)
def test_wrong_arguments_say_what_was_expected(options, said):
    if options == {"output_stride": 4}:
        assert AtrousSegmenter(3, **SMALL, widths=[4], output_stride=4).backbone.strides[-1] == 4
        return
    with pytest.raises(InputError, match=said):
        AtrousSegmenter(3, **options)
