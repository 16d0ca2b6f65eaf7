import pytest
import torch

from deeprob.errors import InputError
from deeprob.models.segmentation.unet import UNet

TINY = {"widths": [4, 6], "blocks": [1, 1], "decoder": [5]}


@pytest.mark.parametrize("upsample", ["bilinear", "transposed"])
@pytest.mark.parametrize("detail", [0, 3])
def test_both_backends_share_weights_outputs_and_gradients(compare, images, upsample, detail):
    options = TINY | {"upsample": upsample, "detail": detail, "decoder": [4, 5] if detail else [5]}
    compare(UNet(3, **options), UNet(3, **options, backend="torch"), images(20))


@pytest.mark.parametrize("backbone", ["compact", "separable", "cnn", "resnet_small"])
def test_every_body_and_any_size_gives_logits_of_the_image_s_size(backbone):
    model = UNet(3, backbone, widths=[4, 6, 8, 8], blocks=[1, 1, 1, 1], decoder=[4, 4, 4])
    for size in ((37, 50), (64, 32)):
        assert model(torch.randn(2, 3, *size)).shape == (2, 3, *size)


def test_label_maps_of_a_few_images_are_learned_by_heart():
    torch.manual_seed(0)
    model = UNet(3, **(TINY | {"widths": [12, 16], "decoder": [12]}), detail=0)
    x = torch.randn(2, 3, 16, 24)
    y = torch.zeros(2, 16, 24, dtype=torch.int64)
    y[0, 4:12, :12], y[1, 8:, 12:] = 1, 2
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model.train()(x), y).backward()
        optimizer.step()
    assert (model.eval()(x).argmax(1) == y).float().mean() > 0.98


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"decoder": [8]}, r"decoder=\[8\]; expected 3 numbers"),
        ({"upsample": "nearest"}, "upsample='nearest'; expected bilinear or transposed"),
    ],
)
def test_wrong_arguments_say_what_was_expected(options, said):
    with pytest.raises(InputError, match=said):
        UNet(3, **options)
