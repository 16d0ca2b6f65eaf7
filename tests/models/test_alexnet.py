import pytest
import torch
from torch import nn

from deeprob.errors import InputError
from deeprob.models.alexnet import AlexNet


class Published(nn.Module):
    """AlexNet as Krizhevsky's 2014 paper and torchvision's weights have it."""

    def __init__(self, num_classes, width=64, hidden=4096):
        super().__init__()
        w = width
        self.features = nn.Sequential(
            nn.Conv2d(3, w, 11, 4, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(w, 3 * w, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(3 * w, 6 * w, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6 * w, 4 * w, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4 * w, 4 * w, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(0.0),
            nn.Linear(4 * w * 36, hidden),
            nn.ReLU(),
            nn.Dropout(0.0),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


@pytest.mark.parametrize("size", [64, 100])
def test_logits_and_gradients_are_those_of_the_published_network(compare, images, size):
    compare(AlexNet(5, width=8, hidden=16, dropout=0.0), Published(5, width=8, hidden=16), images(size))


@pytest.mark.parametrize("variant", ["imagenet", "small"])
def test_both_backends_share_weights_outputs_and_gradients(compare, images, variant):
    options = {"variant": variant, "width": 8, "hidden": 16, "dropout": 0.0, "input_norm": True}
    size = {"imagenet": 63, "small": 32}[variant]
    compare(AlexNet(5, **options), AlexNet(5, **options, backend="torch"), images(size))


@pytest.mark.parametrize("backend", ["deeprob", "torch"])
def test_input_norm_takes_away_light_and_leaves_the_place_of_pixels(images, backend):
    torch.manual_seed(0)
    model = AlexNet(5, "small", 8, 16, input_norm=True, in_channels=5, backend=backend).eval()
    with torch.no_grad():
        model.classifier[-1].weight.normal_()
    seen = images(32, channels=5)
    lighter, elsewhere = seen.clone(), seen.clone()
    lighter[:, :3] = 2 * seen[:, :3] + 1
    elsewhere[:, 3:] = seen[:, 3:] / 2 + 0.3
    torch.testing.assert_close(model(lighter), model(seen), atol=1e-4, rtol=1e-4)
    assert (model(elsewhere) - model(seen)).abs().max() > 1e-2
    nhwc = model.input_norm(seen.to(memory_format=torch.channels_last))
    assert nhwc.is_contiguous(memory_format=torch.channels_last)


def test_both_backends_agree_on_images_with_places(compare, images):
    options = {"variant": "small", "width": 8, "hidden": 16, "dropout": 0.0, "input_norm": True}
    ours, torchs = (AlexNet(5, **options, in_channels=5, backend=name) for name in ("deeprob", "torch"))
    compare(ours, torchs, images(32, channels=5))


def test_parameter_names_and_shapes_are_those_of_torchvisions_weights():
    convolutions = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    linears = {1: (4096, 9216), 4: (4096, 4096), 6: (1000, 4096)}
    expected = {}
    for i, (out, given, kernel) in convolutions.items():
        expected |= {f"features.{i}.weight": (out, given, kernel, kernel), f"features.{i}.bias": (out,)}
    for i, shape in linears.items():
        expected |= {f"classifier.{i}.weight": shape, f"classifier.{i}.bias": shape[:1]}
    with torch.device("meta"):
        model = AlexNet(1000)
    assert {name: tuple(t.shape) for name, t in model.state_dict().items()} == expected
    assert sum(p.numel() for p in model.parameters()) == 61_100_840


def test_a_few_images_are_learned_by_heart(by_heart):
    torch.manual_seed(0)
    assert by_heart(AlexNet(5, variant="small", width=8, hidden=32, dropout=0.0, input_norm=True))


@pytest.mark.parametrize(
    ("variant", "size", "channels", "said"),
    [
        ("imagenet", 62, 3, "at least 63 x 63 pixels; model.variant=small reads 32 px"),
        ("small", 7, 3, "at least 8 x 8 pixels"),
        ("small", 32, 1, r"images of shape \(1, 32, 32\); expected 3 channels"),
    ],
)
def test_an_image_that_does_not_fit_is_one_line(images, variant, size, channels, said):
    with pytest.raises(InputError, match=said):
        AlexNet(5, variant=variant, width=8, hidden=16)(images(size, channels=channels))


def test_the_smallest_images_do_fit(images):
    for variant, size in (("imagenet", 63), ("small", 8)):
        assert AlexNet(5, variant=variant, width=8, hidden=16)(images(size)).shape == (4, 5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"variant": "large"}, "expected imagenet or small"),
        ({"width": 0}, "width=0; expected at least 1"),
    ],
)
def test_wrong_arguments_say_what_was_expected(arguments, said):
    with pytest.raises(InputError, match=said):
        AlexNet(5, **arguments)
