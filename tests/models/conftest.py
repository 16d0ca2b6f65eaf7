"""What every network's tests do: compare two of the same weights, and learn a few images by heart."""

import pytest
import torch
from torch import nn


def same_function(ours, other, x, tolerance=1e-5):
    """Equal logits and equal gradients of all parameters, for the same weights; both in training mode.

    In float64, where no rectifier's input lies so near zero that rounding decides its gate.
    """
    generator = torch.Generator().manual_seed(1)
    for parameter in ours.parameters():  # what starts at zero would hide a path
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.2, generator=generator)
    ours, other, x = ours.double(), other.double(), x.double()
    other.load_state_dict(ours.state_dict())
    expected, got = other(x), ours(x)
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
    upstream = torch.randn(expected.shape, generator=generator, dtype=expected.dtype)
    expected.backward(upstream)
    got.backward(upstream)
    wanted = dict(other.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad,
            wanted[name].grad,
            rtol=tolerance,
            atol=tolerance,
            msg=lambda m, n=name: f"{n}: {m}",
        )
    torch.testing.assert_close(dict(ours.named_buffers()), dict(other.named_buffers()))


def learns_by_heart(model, size=16, count=12, num_classes=5, lr=3e-3, steps=200):
    """Whether random labels of `count` random images are all told within so many steps."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, size, size, generator=generator)
    y = torch.randint(num_classes, (count,), generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for step in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.train()(x), y).backward()
        optimizer.step()
        if step % 10 == 9 and (model.eval()(x).argmax(1) == y).all():
            return True
    return False


@pytest.fixture
def compare():
    return same_function


@pytest.fixture
def by_heart():
    return learns_by_heart


@pytest.fixture
def images():
    def draw(size, count=4, channels=3):
        return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0))

    return draw
