from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from deeprob.errors import InputError
from deeprob.layers import dice_loss
from deeprob.tasks.segmentation.labels import IGNORED
from deeprob.tasks.segmentation.losses import LabelMapLoss, dice, hard_pixels

TASK = SimpleNamespace(data=SimpleNamespace(classes=("background", "cup", "tin")))


@pytest.fixture
def batch():
    """Logits of two images, an image of noise, and labels of which some are not known."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 6, generator=draw).requires_grad_()
    labels = torch.randint(3, (2, 5, 6), generator=draw)
    labels[0, :2] = IGNORED
    return logits, SimpleNamespace(images=torch.zeros(2, 3, 5, 6), labels=labels)


def loss_of(given, batch, **options):
    return LabelMapLoss(**options)(TASK, lambda images: given, batch)


def test_the_cross_entropy_is_that_of_labelled_pixels(batch):
    logits, of = batch
    loss = loss_of(logits, of)
    torch.testing.assert_close(loss.total, F.cross_entropy(logits, of.labels, ignore_index=IGNORED))
    loss.total.backward()
    assert (logits.grad[0, :, :2] == 0).all()


def test_class_weights_are_torch_s(batch):
    logits, of = batch
    expected = F.cross_entropy(logits, of.labels, torch.tensor([1.0, 2.0, 4.0]), ignore_index=IGNORED)
    torch.testing.assert_close(loss_of(logits, of, class_weights=(1, 2, 4)).total, expected)


def test_terms_are_named_and_summed(batch):
    logits, of = batch
    loss = loss_of((logits, logits), of, dice=0.5, lovasz=2.0, auxiliary=0.4)
    assert loss.terms.keys() == {"cross_entropy", "dice", "lovasz", "auxiliary"}
    weights = {"cross_entropy": 1, "dice": 0.5, "lovasz": 2, "auxiliary": 0.4}
    expected = sum(weights[name] * term for name, term in loss.terms.items())
    torch.testing.assert_close(loss.total.detach(), expected)
    loss.total.backward()
    assert (logits.grad[0, :, :2] == 0).all()


def test_dice_is_that_of_the_labelled_pixels(batch):
    logits, of = batch
    known = (of.labels != IGNORED).flatten()
    p = logits.softmax(1).movedim(1, 0).flatten(1)[:, known]
    truth = F.one_hot(of.labels.flatten()[known], 3).T.float()
    torch.testing.assert_close(dice(logits, of.labels), dice_loss(p, truth, dim=1))


def test_easy_pixels_do_not_count_but_some_always_do():
    labels = torch.tensor([[[0, 0, 0, IGNORED]]])
    right = torch.tensor([[[4.0, 0.0, 1.0, 0.0]]])  # logits of the right class against 0
    logits = torch.stack([right, torch.zeros_like(right)], 1)
    assert hard_pixels(logits, labels, 0.9, 0.1).tolist() == [[[IGNORED, 0, 0, IGNORED]]]
    assert hard_pixels(logits, labels, 0.1, 0.4).tolist() == [[[IGNORED, 0, IGNORED, IGNORED]]]


@pytest.mark.parametrize(
    "options", [{}, {"dice": 1.0, "lovasz": 1.0, "hard": 0.7, "class_weights": (1, 2, 3)}]
)
def test_a_batch_without_a_labelled_pixel_trains_on(batch, options):
    logits, of = batch
    of.labels[:] = IGNORED
    loss_of(logits, of, **options).total.backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hard": 1.5}, "objective.hard is 1.5; expected 0 to 1"),
        ({"cross_entropy": 0}, "every term of the loss is off"),
        ({"dice": -1}, "objective.dice is -1"),
    ],
)
def test_wrong_values_are_one_line(options, said):
    with pytest.raises(InputError, match=said):
        LabelMapLoss(**options)


def test_other_models_and_samples_are_told(batch):
    logits, of = batch
    with pytest.raises(InputError, match="expected 3, of background, cup, tin"):
        loss_of(logits, of, class_weights=(1, 2))
    with pytest.raises(InputError, match="no logits for every pixel"):
        loss_of(logits.mean((2, 3)), of)
    with pytest.raises(InputError, match="no label maps"):
        loss_of(logits, SimpleNamespace(images=of.images, labels=of.labels[:, 0, 0]))
