import math

import pytest
import torch

from deeprob.layers import (
    DiceLoss,
    GeneralizedBoxIoULoss,
    SigmoidFocalLoss,
    binary_cross_entropy_with_logits,
    dice_loss,
    generalized_box_iou_loss,
    l2_regularizer,
    mse_loss,
    sigmoid_focal_loss,
    smooth_l1_loss,
)


def test_mse_by_hand():
    x = torch.tensor([1.0, 5.0], requires_grad=True)
    y = mse_loss(x, torch.tensor([0.0, 2.0]))
    assert y.item() == 5.0
    assert torch.autograd.grad(y, x)[0].tolist() == [1.0, 3.0]


def test_smooth_l1_pulls_no_harder_than_one():
    x = torch.tensor([0.5, 1.0, 100.0, -100.0], requires_grad=True)
    y = smooth_l1_loss(x, torch.zeros(4), reduction="sum")
    assert y.item() == pytest.approx(0.125 + 0.5 + 99.5 + 99.5)
    assert torch.autograd.grad(y, x)[0].tolist() == [0.5, 1.0, 1.0, -1.0]


def test_cross_entropy_of_a_certain_mistake_is_its_logit():
    x = torch.tensor([1000.0, -1000.0], requires_grad=True)
    y = binary_cross_entropy_with_logits(x, torch.tensor([0.0, 1.0]), reduction="sum")
    assert y.item() == 2000.0
    assert torch.autograd.grad(y, x)[0].tolist() == [1.0, -1.0]


def test_focal_loss_without_focus_is_cross_entropy():
    x, target = torch.randn(4, 5).double(), torch.randint(2, (4, 5)).double()
    focal = sigmoid_focal_loss(x, target, alpha=None, gamma=0.0, reduction="mean")
    torch.testing.assert_close(focal, binary_cross_entropy_with_logits(x, target))


def test_focal_loss_stays_finite_for_certain_logits():
    x = torch.tensor([500.0, -500.0, 500.0, -500.0], requires_grad=True)
    y = SigmoidFocalLoss(reduction="sum")(x, torch.tensor([0.0, 1.0, 1.0, 0.0]))
    (dx,) = torch.autograd.grad(y, x)
    assert y.item() == pytest.approx(0.75 * 500 + 0.25 * 500)
    assert dx.tolist() == pytest.approx([0.75, -0.25, 0.0, 0.0])


def test_giou_by_hand():
    unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(3, 4)
    other = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.0, 1.5, 1.0], [2.0, 0.0, 3.0, 1.0]])
    loss = generalized_box_iou_loss(unit, other)
    assert loss.tolist() == pytest.approx([0.0, 1 - 1 / 3, 1 + 1 / 3], abs=1e-6)  # hull: none, none, a third


def test_giou_pulls_boxes_that_are_apart_together():
    a = torch.tensor([[0.0, 0.0, 1.0, 1.0]], requires_grad=True)
    (da,) = torch.autograd.grad(GeneralizedBoxIoULoss()(a, torch.tensor([[3.0, 0.0, 4.0, 1.0]])), a)
    assert da[0, 2] < 0  # a larger right edge lowers the loss


def test_a_weight_of_zero_leaves_a_box_and_an_anchor_out():
    a = torch.tensor([[0.0, 0.0, 1.0, 1.0], [5.0, 5.0, 5.0, 5.0]], requires_grad=True)
    b = torch.tensor([[0.5, 0.0, 1.5, 1.0], [0.0, 0.0, 0.0, 0.0]])
    weight = torch.tensor([2.0, 0.0])
    loss = generalized_box_iou_loss(a[None], b[None], reduction="sum", weight=weight)
    assert loss.item() == pytest.approx(2 * (1 - 1 / 3), abs=1e-6)
    assert torch.autograd.grad(loss, a)[0][1].eq(0).all()
    x = torch.tensor([[0.0, 3.0]], requires_grad=True)
    focal = sigmoid_focal_loss(x, torch.tensor([[1.0, 0.0]]), reduction="sum", weight=weight)
    assert focal.item() == pytest.approx(2 * 0.25 * 0.25 * math.log(2))
    assert torch.autograd.grad(focal, x)[0].tolist() == [[pytest.approx(-0.125 * (0.5 + math.log(2))), 0.0]]


def test_dice_by_hand():
    p = torch.tensor([[1.0, 0.5, 0.0, 0.0]], requires_grad=True)
    loss = dice_loss(p, torch.tensor([[1.0, 1.0, 0.0, 0.0]]), dim=-1, eps=0.5, reduction="sum")
    assert loss.item() == pytest.approx(1 - 3.5 / 4)
    (dp,) = torch.autograd.grad(loss, p)
    assert dp[0].tolist() == pytest.approx([(0.875 - 2) / 4, (0.875 - 2) / 4, 0.875 / 4, 0.875 / 4])


def test_dice_of_equal_masks_and_of_two_empty_ones_is_zero():
    mask = torch.zeros(2, 3, 4, 4)
    mask[0, 1, :2] = 1
    assert dice_loss(mask, mask, reduction="none").tolist() == [[0, 0, 0], [0, 0, 0]]


def test_dice_over_the_batch_gives_one_loss_a_class():
    p, target = torch.rand(4, 3, 5, 6), torch.rand(4, 3, 5, 6).round()
    together = DiceLoss(dim=(0, 2, 3), reduction="none")(p, target)
    apart = dice_loss(p.transpose(0, 1).flatten(1), target.transpose(0, 1).flatten(1), -1, reduction="none")
    torch.testing.assert_close(together, apart)


def test_the_regularizer_pulls_in_proportion():
    w, b = torch.tensor([[3.0, -4.0]], requires_grad=True), torch.tensor([2.0], requires_grad=True)
    y = l2_regularizer(w, b, strength=0.1)
    assert y.item() == pytest.approx(0.05 * (9 + 16 + 4))
    dw, db = torch.autograd.grad(y, (w, b))
    assert [*dw[0].tolist(), *db.tolist()] == pytest.approx([0.3, -0.4, 0.2])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_no_elements_give_no_gradient(reduction):
    x = torch.zeros(0, 4, requires_grad=True)
    y = smooth_l1_loss(x, torch.zeros(0, 4), reduction=reduction)
    assert y.item() == 0 or (reduction == "mean" and math.isnan(y.item()))  # as torch
    assert torch.autograd.grad(y, x)[0].shape == (0, 4)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (binary_cross_entropy_with_logits, {}),
        (sigmoid_focal_loss, {}),
        (sigmoid_focal_loss, {"alpha": None}),
        (sigmoid_focal_loss, {"alpha": 0.9}),
    ],
)
def test_the_loops_of_binary_losses_equal_the_formula_in_float64(loss, options, reduction):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5000, generator=generator) * 8
    x[0, :4] = torch.tensor([0.0, 300.0, -300.0, 1e-3])
    t = torch.randint(2, x.shape, generator=generator).float()
    soft = loss is binary_cross_entropy_with_logits
    results = []
    for dtype in (torch.float32, torch.float64):
        logits, target = (v.to(dtype, copy=True).requires_grad_() for v in (x, t))
        y = loss(logits, target if soft else target.detach(), reduction=reduction, **options)
        results.append([y.detach(), *torch.autograd.grad(3 * y, (logits, target) if soft else logits)])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=5e-6, atol=2e-6 * expected.abs().max().item())
