import pytest
import torch
from torch import nn

from deeprob.errors import InputError
from deeprob.models.mlp import MLP


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_both_backends_share_weights_outputs_and_gradients(compare, images, norm):
    options = {"widths": [16, 8], "norm": norm, "image_size": 6, "input_norm": True}
    compare(MLP(5, **options), MLP(5, **options, backend="torch"), images(6))


def test_logits_and_gradients_are_those_of_the_written_formula(compare, images):
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.ModuleList(nn.Module() for _ in range(2))
            for layer, (a, b) in zip(self.hidden, [(108, 16), (16, 8)], strict=True):
                layer.linear = nn.Linear(a, b)
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            x = x.flatten(1)
            for layer in self.hidden:
                x = layer.linear(x).relu()
            return self.head(x)

    compare(MLP(5, widths=[16, 8], norm="none", image_size=6), Flat(), images(6))


def test_without_hidden_layers_it_is_a_linear_classifier(images):
    model = MLP(5, widths=[], image_size=6)
    x = images(6)
    expected = x.flatten(1) @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(x), expected)


def test_dropout_acts_in_training_only(images):
    torch.manual_seed(0)
    model = MLP(5, widths=[64], norm="none", dropout=0.5, image_size=6)
    x = images(6)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_input_norm_makes_exposure_and_colour_casts_invisible(images):
    model = MLP(5, widths=[8], input_norm=True, image_size=6).eval()
    x = images(6)
    cast = x * torch.tensor([0.5, 2.0, 1.5])[:, None, None] + torch.tensor([0.3, -0.1, 1.0])[:, None, None]
    torch.testing.assert_close(model(cast), model(x), rtol=1e-3, atol=1e-4)


def test_the_first_loss_is_that_of_a_guess(images):
    torch.manual_seed(0)
    logits = MLP(5, image_size=6)(images(6, count=64))
    loss = nn.functional.cross_entropy(logits, torch.arange(64) % 5)
    assert float(loss.detach()) == pytest.approx(torch.tensor(5.0).log().item(), rel=0.1)


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_a_few_images_are_learned_by_heart(by_heart, norm):
    torch.manual_seed(0)
    assert by_heart(MLP(5, widths=[64, 32], norm=norm, image_size=16))


def test_an_image_of_another_size_is_one_line(images):
    with pytest.raises(
        InputError, match=r"images of shape \(3, 8, 8\); expected \(3, 6, 6\); set model.image"
    ):
        MLP(5, image_size=6)(images(8))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"norm": "group"}, "norm=group; expected none or batch or layer"),
        ({"widths": [8, 0]}, "widths=0; expected at least 1"),
        ({"image_size": 0}, "image_size=0"),
    ],
)
def test_wrong_arguments_say_what_was_expected(arguments, said):
    with pytest.raises(InputError, match=said):
        MLP(5, **arguments)
