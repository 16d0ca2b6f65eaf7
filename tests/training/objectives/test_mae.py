"""The masked autoencoder: what is taken, put back and compared."""

import pytest
import torch

from deeprob.errors import InputError
from deeprob.models.cnn import CNN
from deeprob.models.vit import ViT
from deeprob.tasks.classification.view import CropBatch
from deeprob.training.objectives import MaskedAutoencoder
from deeprob.training.objectives.mae import normalised_patches


@pytest.fixture(params=["token", "mean"])
def vit(request):
    torch.manual_seed(0)
    return ViT(3, patch=4, dim=16, depth=1, heads=2, pool=request.param, image_size=16)


@pytest.fixture
def objective(vit):
    made = MaskedAutoencoder(mask=0.75, dim=8, heads=2)
    made.attach(None, vit)
    return made


def batch(count=2):
    return CropBatch(torch.randn(count, 3, 16, 16), None, torch.arange(count))


def test_patches_are_of_mean_zero_and_variance_one_and_in_order():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    found = normalised_patches(image, 2)
    corner = torch.tensor([0.0, 1, 4, 5])
    torch.testing.assert_close(found[0, 0], (corner - corner.mean()) / corner.std())
    assert found.shape == (1, 4, 4)


def test_what_is_kept_and_what_is_left_out_are_all_patches(objective):
    kept, masked = objective.draw(5, torch.device("cpu"))
    assert kept.shape == (5, 4)
    assert torch.equal(torch.cat([kept, masked], 1).sort(1).values, torch.arange(16).expand(5, 16))


def test_patches_that_were_left_out_are_not_seen(objective, vit):
    given = batch()
    torch.manual_seed(3)
    kept, masked = objective.draw(2, torch.device("cpu"))
    other = given.images.clone()
    for i in range(2):
        for place in masked[i].tolist():
            row, column = divmod(place, 4)
            other[i, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 7.0
    seen = [
        vit.encode(objective._take(vit.embed(x), objective._with_prefix(kept))) for x in (given.images, other)
    ]
    assert torch.equal(*seen)


def test_every_weight_has_a_gradient_but_the_classifiers(objective, vit):
    loss = objective(None, vit, batch())
    loss.total.backward()
    still = [name for name, p in vit.named_parameters() if p.grad is None]
    assert still == ["head.weight", "head.bias"]
    assert all(p.grad is not None for p in objective.parameters())


def test_it_is_for_vision_transformers():
    with pytest.raises(InputError, match="model=vit"):
        MaskedAutoencoder().attach(None, CNN(3))
