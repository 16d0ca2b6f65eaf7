"""What batch normalisation remembers between batches."""

import pytest
import torch
from torch import nn

from deeprob import layers


@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
def test_running_statistics_follow_torch_over_many_batches(momentum):
    ours, theirs = layers.BatchNorm2d(4, momentum=momentum), nn.BatchNorm2d(4, momentum=momentum)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        x = torch.randn(3, 4, 5, 2, generator=generator) * 3 + 1
        ours(x)
        theirs(x)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_evaluation_leaves_the_running_statistics_alone():
    norm = layers.BatchNorm2d(4).eval()
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    norm(torch.randn(3, 4, 5, 5) + 7)
    assert all(torch.equal(v, before[k]) for k, v in norm.state_dict().items())


def test_half_precision_maps_keep_their_dtype_and_float32_parameters():
    norm = layers.BatchNorm2d(4)
    x = torch.randn(3, 4, 5, 5, dtype=torch.bfloat16, requires_grad=True)
    y = norm(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == torch.bfloat16
    assert norm.weight.grad.dtype == torch.float32


def test_a_vector_of_the_wrong_rank_is_refused():
    with pytest.raises(ValueError, match=r"BatchNorm2d: expected x \(N, C, H, W\), got \(3, 4\)"):
        layers.BatchNorm2d(4)(torch.randn(3, 4))
