"""Cross-entropy: the CPU's loops against the formula in float64, and what is ignored."""

import math

import pytest
import torch

from deeprob import layers
from deeprob.layers.kernels.cross_entropy import LOOP_FROM


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("wanted", ["x", "s", "both"])
def test_the_loops_for_probabilities_equal_the_formula(wanted, smoothing, weighted, reduction):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(47, 131, generator=generator) * 20
    x[3, 5] = -1e4  # its probability is nothing
    assert x.numel() >= LOOP_FROM
    s = torch.rand(x.shape, generator=generator).softmax(1)
    weight = torch.rand(131, generator=generator) if weighted else None
    dy = torch.rand(47 if reduction == "none" else (), generator=generator)
    results = []
    for dtype in (torch.float32, torch.float64):
        inputs = [t.to(dtype, copy=True) for t in (x, s)]
        chosen = [
            t.requires_grad_() for t, name in zip(inputs, "xs", strict=True) if wanted in (name, "both")
        ]
        loss = layers.cross_entropy(
            *inputs,
            None if weight is None else weight.to(dtype),
            reduction=reduction,
            label_smoothing=smoothing,
        )
        results.append([loss.detach(), *torch.autograd.grad(loss, chosen, dy.to(dtype))])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=2e-5, atol=2e-6 * expected.abs().max().item())


@pytest.mark.parametrize("size", [5, LOOP_FROM])  # by the formula, and by loops
def test_a_batch_without_a_target_has_no_gradient(size):
    x, weight = torch.randn(size, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    target = torch.full((size,), -100)
    for loss in (layers.cross_entropy(x, target), layers.linear_cross_entropy(x, weight, target)):
        assert loss.isnan()  # the mean of nothing, as torch's
        for gradient in torch.autograd.grad(loss, (x, weight), allow_unused=True):
            assert gradient is None or gradient.eq(0).all()


def test_the_logits_of_what_is_ignored_may_be_anything():
    x = torch.tensor([[float("inf"), 0.0], [0.0, 0.0]])
    target = torch.tensor([-100, 1])
    assert layers.cross_entropy(x, target, reduction="sum").item() == pytest.approx(math.log(2))
