"""The CPU's loops: threads, and that their speed does not cost correctness."""

import pytest
import torch

from deeprob import layers
from deeprob.layers import kernels


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def gradients(function, x, *others):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = function(x, *others)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    return y.detach(), x.grad


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "function",
    [
        layers.relu,
        lambda x: layers.batch_norm(x, training=True),
        lambda x: layers.group_norm(x, 4),
        lambda x: layers.layer_norm(x, (9,)),
        lambda x: layers.rms_norm(x, (9,)),
        lambda x: layers.conv2d(x, torch.linspace(-1, 1, 32 * 32 * 9).view(32, 32, 3, 3), padding=1),
    ],
    ids=["relu", "batch_norm", "group_norm", "layer_norm", "rms_norm", "conv2d"],
)
def test_threads_give_the_same_as_one(function, layout, four_threads):
    x = torch.randn(64, 32, 8, 9, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    many = gradients(function, x)
    torch.set_num_threads(1)
    for got, expected in zip(many, gradients(function, x), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("in_channels", "window", "options"),
    [
        (5, (3, 3), {"padding": 1}),
        (3, (7, 7), {"padding": 3, "stride": 2}),
        (4, (2, 3), {"padding": (0, 2), "stride": (1, 3), "dilation": (3, 1)}),
        (40, (5, 1), {}),
    ],
)
def test_weight_gradients_tap_by_tap_are_the_formulas(in_channels, window, options, layout, four_threads):
    torch.manual_seed(0)
    x = torch.randn(6, in_channels, 40, 37).contiguous(memory_format=layout)
    weight = torch.randn(7, in_channels, *window)
    dweights = []
    for dtype in (torch.float32, torch.float64):  # float64 takes the formula
        w = weight.to(dtype, copy=True).requires_grad_()
        layers.conv2d(x.to(dtype), w, **options).square().sum().backward()
        dweights.append(w.grad.double())
    assert (dweights[0] - dweights[1]).abs().max() < 1e-5 * dweights[1].abs().max()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_not_finite_comes_through(poison, layout):
    x = torch.randn(8, 32, 8, 8).contiguous(memory_format=layout)
    x[1, 2, 3, 4] = poison
    y = layers.batch_norm(x, training=True)
    assert not y[:, 2].isfinite().any()
    assert y[:, 3].isfinite().all()
    assert not layers.layer_norm(x, (8,))[1, 2, 3].isfinite().any()


def test_a_view_with_gaps_is_not_taken_for_a_row():
    x = torch.randn(4, 6, 5, 5)
    assert not kernels.is_dense(x[:, ::2])
    maps = x.contiguous(memory_format=torch.channels_last)
    assert kernels.is_dense(maps)
    assert kernels.as_array(maps, flat=True).tolist() == x.permute(0, 2, 3, 1).flatten().tolist()
