"""The CPU's loops of cross-entropy against the formula in float64."""

import pytest
import torch

from deeprob import layers
from deeprob.layers.cross_entropy import LOOP_FROM


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
