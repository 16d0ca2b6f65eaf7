"""The Lovasz-softmax loss on numbers worked out by hand."""

import pytest
import torch

from deeprob.layers import lovasz_softmax_loss


def test_hard_predictions_give_one_less_the_iou():
    target = torch.tensor([[0, 0, 0, 1, 1, 1]])
    said = torch.tensor([0, 0, 1, 1, 1, 0])
    p = torch.nn.functional.one_hot(said, 2).double().T[None]
    assert lovasz_softmax_loss(p, target).item() == pytest.approx(1 - 2 / 4)


def test_soft_predictions_by_hand():
    # errors of class 1: 0.7 (its own pixel), 0.2; of class 0 the same: 0.7 (another's), 0.2 (its own)
    p = torch.tensor([[[0.7, 0.8], [0.3, 0.2]]], dtype=torch.float64)
    of_one = 0.7 * 1 + 0.2 * 0
    of_zero = 0.7 * 0.5 + 0.2 * 0.5
    loss = lovasz_softmax_loss(p, torch.tensor([[1, 0]]))
    assert loss.item() == pytest.approx((of_one + of_zero) / 2)


def test_what_is_ignored_has_no_part():
    p = torch.rand(1, 3, 6, dtype=torch.float64).softmax(1).requires_grad_()
    target = torch.tensor([[0, 1, 2, 255, 255, 0]])
    kept = [0, 1, 2, 5]
    loss = lovasz_softmax_loss(p, target, 255)
    assert loss.item() == pytest.approx(lovasz_softmax_loss(p[..., kept], target[:, kept]).item())
    loss.backward()
    assert (p.grad[..., 3:5] == 0).all()
    assert (p.grad[..., kept] != 0).any()


def test_image_by_image_is_the_mean_over_images():
    p, target = torch.rand(2, 3, 8, dtype=torch.float64).softmax(1), torch.randint(3, (2, 8))
    apart = [lovasz_softmax_loss(p[i : i + 1], target[i : i + 1]) for i in range(2)]
    together = lovasz_softmax_loss(p, target, per_image=True)
    assert together.item() == pytest.approx(torch.stack(apart).mean().item())
