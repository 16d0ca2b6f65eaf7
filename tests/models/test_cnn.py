import pytest
import torch

from deeprob.errors import InputError
from deeprob.models.cnn import CNN


@pytest.mark.parametrize("norm", [True, False])
def test_both_backends_share_weights_outputs_and_gradients(compare, images, norm):
    options = {"widths": [4, 6], "norm": norm, "input_norm": True}
    compare(CNN(5, **options), CNN(5, **options, backend="torch"), images(12))


def test_every_stage_halves_the_map_and_has_its_width(images):
    model = CNN(5, widths=[4, 6, 8], convs=1)
    shapes = []
    for stage in model.stages:
        stage.register_forward_hook(lambda _module, _inputs, y: shapes.append(tuple(y.shape[1:])))
    assert model(images(16)).shape == (4, 5)
    assert shapes == [(4, 8, 8), (6, 4, 4), (8, 2, 2)]


def test_convolutions_are_named_by_stage():
    names = set(CNN(5, widths=[4, 6], convs=2).state_dict())
    assert {f"stages.{s}.conv{i}.weight" for s in (0, 1) for i in (1, 2)} <= names
    assert {"stages.1.bn2.running_var", "head.bias"} <= names


@pytest.mark.parametrize("norm", [True, False])
def test_a_few_images_are_learned_by_heart(by_heart, norm):
    torch.manual_seed(0)
    assert by_heart(CNN(5, widths=[16, 32], convs=1, norm=norm), lr=1e-2)


@pytest.mark.parametrize(("size", "channels"), [(7, 3), (8, 1)])
def test_an_image_that_does_not_fit_is_one_line(images, size, channels):
    with pytest.raises(InputError, match="expected 3 channels, at least 8 x 8 pixels; give fewer stages"):
        CNN(5, widths=[4, 4, 4])(images(size, channels=channels))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"widths": []}, "widths=0; expected at least 1"), ({"convs": 0}, "convs=0; expected at least 1")],
)
def test_wrong_arguments_say_what_was_expected(arguments, said):
    with pytest.raises(InputError, match=said):
        CNN(5, **arguments)
