"""Dropout draws its own gates; the gate's gradient is in the contract test."""

import pytest
import torch

from deeprob import layers


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_share_of_entries_is_dropped_and_the_mean_is_kept(p):
    torch.manual_seed(0)
    y = layers.dropout(torch.ones(200_000), p)
    assert abs(float((y == 0).float().mean()) - p) < 0.005
    assert abs(float(y.mean()) - 1) < 0.02


def test_every_place_is_dropped_alike():
    torch.manual_seed(0)
    kept = sum((layers.dropout(torch.ones(64), 0.5) > 0).float() for _ in range(1000)) / 1000
    assert 0.4 < float(kept.min()) <= float(kept.max()) < 0.6


def test_gradient_flows_through_the_same_gates():
    x = torch.ones(1000, requires_grad=True)
    y = layers.dropout(x, 0.3)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_evaluation_and_p_zero_change_nothing():
    x = torch.randn(5)
    assert layers.Dropout(0.5).eval()(x) is x
    assert layers.dropout(x, 0.0) is x


def test_p_one_drops_everything():
    assert not layers.dropout(torch.ones(7), 1.0).any()


def test_the_seed_decides():
    torch.manual_seed(3)
    first = layers.dropout(torch.ones(50))
    torch.manual_seed(3)
    assert torch.equal(first, layers.dropout(torch.ones(50)))


def test_p_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"expected p between 0 and 1, got 1\.5"):
        layers.dropout(torch.ones(2), 1.5)
