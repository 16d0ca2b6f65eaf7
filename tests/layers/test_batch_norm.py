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


@pytest.mark.parametrize("training", [True, False])
def test_half_precision_is_normalised_as_float32_is_and_rounded_once(training):
    torch.manual_seed(0)
    half, whole = (layers.BatchNorm2d(16).train(training) for _ in range(2))
    x = torch.randn(4, 16, 16, 16).bfloat16()
    upstream = torch.randn(x.shape).bfloat16()
    given = [x.clone().requires_grad_(), x.float().requires_grad_()]
    got, expected = half(given[0]), whole(given[1])
    got.backward(upstream)
    expected.backward(upstream.float())
    assert torch.equal(got, expected.bfloat16())
    assert torch.equal(given[0].grad, given[1].grad.bfloat16())
    torch.testing.assert_close(half.weight.grad, whole.weight.grad)
    torch.testing.assert_close(half.running_var, whole.running_var)


def test_a_vector_of_the_wrong_rank_is_refused():
    with pytest.raises(ValueError, match=r"BatchNorm2d: expected x \(N, C, H, W\), got \(3, 4\)"):
        layers.BatchNorm2d(4)(torch.randn(3, 4))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", ["planes", "maps", "rows"])
@pytest.mark.parametrize("size", [(8, 24, 6, 6), (3, 40, 5, 7), (1, 1500, 3, 3)])
def test_the_loops_equal_the_formula_in_float64(size, layout, training, affine):
    """Rows taken several at a time, an odd number of them, and channels too many for that."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size, generator=generator) * 3 + 20
    if layout == "rows":
        x = x.permute(0, 2, 3, 1).flatten(0, 2)
    elif layout == "maps":
        x = x.contiguous(memory_format=torch.channels_last)
    parameters = [torch.rand(size[1], generator=generator) + 0.5 for _ in range(4)]
    dy = torch.randn(x.shape, generator=generator)
    results = []
    for dtype in (torch.float32, torch.float64):
        inputs = [t.to(dtype, copy=True).requires_grad_() for t in (x, *parameters[:2])]
        w, b = inputs[1:] if affine else (None, None)
        running = [t.to(dtype, copy=True) for t in parameters[2:]]
        y = layers.batch_norm(inputs[0], *running, w, b, training)
        wanted = inputs if affine else inputs[:1]
        gradients = torch.autograd.grad(y, wanted, dy.to(y).contiguous(memory_format=torch.preserve_format))
        results.append([y, *gradients, *running])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=2e-5, atol=2e-5 * expected.abs().max().item())
