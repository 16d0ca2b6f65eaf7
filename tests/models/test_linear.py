"""Linear classifiers and the two-layer network as models, and what may stand before them."""

import pytest
import torch

from deeprob import layers
from deeprob.data.features import colour_histogram, hog
from deeprob.errors import InputError
from deeprob.models.features import Features, without_head
from deeprob.models.linear import LinearClassifier
from deeprob.models.resnet import ResNet
from deeprob.models.softmax_regression import softmax_loss_vectorised
from deeprob.models.two_layer_net import TwoLayerNet, Weights, two_layer_loss_vectorised

MODELS = [LinearClassifier, TwoLayerNet]


def images(count=4, size=16):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_the_modules_gradient_is_that_of_the_flat_code():
    model = LinearClassifier(5, image_size=16).double()
    x, y = images().double(), torch.tensor([0, 1, 2, 3])
    layers.cross_entropy(model(x), y).backward()
    W, b = model.fc.weight.detach(), model.fc.bias.detach()
    _, dW, db = softmax_loss_vectorised(W, b, x.flatten(1), y, 0.0)
    torch.testing.assert_close(model.fc.weight.grad, dW)
    torch.testing.assert_close(model.fc.bias.grad, db)


def test_the_two_layer_modules_gradient_is_that_of_the_flat_code():
    model = TwoLayerNet(5, hidden=7, image_size=16).double()
    x, y = images().double(), torch.tensor([0, 1, 2, 3])
    layers.cross_entropy(model(x), y).backward()
    weights = [p.detach() for p in (*model.fc1.parameters(), *model.fc2.parameters())]
    _, expected = two_layer_loss_vectorised(Weights(*weights), x.flatten(1), y, 0.0)
    found = [p.grad for p in (*model.fc1.parameters(), *model.fc2.parameters())]
    for gradient, e in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, e)


@pytest.mark.parametrize("model", MODELS)
def test_both_backends_give_the_same_scores(model):
    ours = model(5, image_size=16)
    theirs = model(5, image_size=16, backend="torch")
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(theirs(images()), ours(images()))


def test_templates_are_the_rows_of_the_weights():
    model = LinearClassifier(5, image_size=16)
    scores = (model.templates()[None] * images()[:, None]).sum((2, 3, 4)) + model.fc.bias
    torch.testing.assert_close(scores, model(images()))
    assert TwoLayerNet(5, hidden=7, image_size=16).templates().shape == (7, 3, 16, 16)


def test_features_that_are_no_pixels_have_no_templates():
    assert LinearClassifier(5, features="hog", image_size=16).templates() is None


def test_several_features_stand_side_by_side():
    found = Features("hog+histogram", image_size=16)
    expected = torch.cat([hog(images(), 2), colour_histogram(images())], 1)
    assert torch.equal(found(images()), expected)
    assert found.num_features == expected.shape[1]


def test_input_norm_takes_away_what_light_does_to_pixels():
    features = Features("pixels", image_size=16, input_norm=True)
    torch.testing.assert_close(features(2 * images() + 3), features(images()), atol=1e-4, rtol=0)


def test_features_of_colours_refuse_other_channels():
    with pytest.raises(InputError, match=r"hog of images with 5 channels; .*data.view.channels=3"):
        Features("pixels+hog", image_size=16, in_channels=5)
    assert Features("pixels", image_size=16, in_channels=5).num_features == 5 * 16**2


def test_a_lent_networks_features_are_what_its_last_layer_takes():
    torch.manual_seed(0)
    network = ResNet(5, blocks=(1, 1), width=8, stem="small").eval()
    taken = []
    network.fc.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    network(images())
    features = Features(image_size=16, network=network)
    torch.testing.assert_close(features(images()), taken[0])
    assert features.num_features == 16


def test_a_network_that_takes_other_images_is_not_lent():
    network = ResNet(5, blocks=(1, 1), width=8, stem="small", in_channels=5)
    with pytest.raises(InputError, match=r"no images of shape \(3, 16, 16\); set data.view"):
        Features(image_size=16, network=network)


def test_a_lent_network_is_neither_trained_nor_moved():
    model = LinearClassifier(5, image_size=16, network=ResNet(5, blocks=(1,), width=8, stem="small"))
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained == ["fc.weight", "fc.bias"]
    before = {k: v.clone() for k, v in model.features.state_dict().items()}
    model.train()(images())
    assert all(torch.equal(v, before[k]) for k, v in model.features.state_dict().items())


def test_a_network_without_a_linear_layer_lends_nothing():
    with pytest.raises(InputError, match="no linear layer"):
        without_head(layers.Sequential(layers.Conv2d(3, 4, 1)))


def test_images_of_another_size_are_refused():
    with pytest.raises(InputError, match="images of shape"):
        LinearClassifier(5, image_size=16)(images(size=8))
