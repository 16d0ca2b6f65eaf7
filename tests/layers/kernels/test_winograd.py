"""3x3 convolutions by tiles equal the plain sum, and are as exact as the layers promise."""

import pytest
import torch

from deeprob import layers
from deeprob.layers import formulas
from deeprob.layers.kernels import winograd
from deeprob.layers.kernels.loops import run
from deeprob.layers.kernels.winograd import kernel_values
from deeprob.layers.kernels.winograd_tiles import outputs_of_tiles, tiles_of_inputs

SHAPES = {  # (N, C, H, W), O, padding
    "tiles that fit": ((2, 48, 8, 12), 64, (1, 1)),
    "a row and a column over": ((3, 50, 9, 13), 48, (1, 1)),
    "no padding": ((2, 48, 11, 8), 52, (0, 0)),
    "wide padding": ((2, 48, 7, 6), 49, (2, 2)),
    "one side": ((2, 48, 6, 10), 48, (0, 2)),
    "many channels, a block at a time": ((1, 264, 10, 7), 272, (1, 1)),
    "more than one share": ((1, 48, 70, 75), 48, (1, 1)),
    "smaller than a tile": ((9, 48, 3, 2), 48, (1, 1)),
}


def largest(ours, exact):
    return ((ours - exact).abs().max() / exact.abs().max()).item()


def results(x, weight, bias, padding):
    x, weight, bias = (
        t.clone(memory_format=torch.preserve_format).requires_grad_() for t in (x, weight, bias)
    )
    y = layers.conv2d(x, weight, bias, padding=padding)
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
    return [y.detach(), *torch.autograd.grad(y, (x, weight, bias), upstream)]


@pytest.fixture
def always(monkeypatch):
    """Tiles wherever the window is 3x3, however small the map."""
    monkeypatch.setattr(winograd, "CHANNELS", 1)
    monkeypatch.setattr(winograd, "FEWEST", 0.01)
    monkeypatch.setattr(winograd, "CHANNELS_WEIGHT", 1)
    monkeypatch.setattr(winograd, "FEWEST_WEIGHT", 0.01)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", list(SHAPES))
def test_outputs_and_gradients_are_those_of_the_plain_sum(name, channels_last, always, monkeypatch):
    shape, out_channels, padding = SHAPES[name]
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape), torch.randn(out_channels, shape[1], 3, 3), torch.randn(out_channels)
    if channels_last:
        x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    exact = results(x.double(), weight.double(), bias.double(), padding)  # float64 takes every product
    calls = []
    for form in ("_convolve", "weight_gradient"):
        own = getattr(winograd, form)
        monkeypatch.setattr(winograd, form, lambda *a, own=own: (calls.append(own), own(*a))[1])
    ours = results(x, weight, bias, padding)
    assert len(calls) == 3  # y, dx and dW
    assert ours[0].is_contiguous(memory_format=torch.channels_last) or not channels_last
    for mine, reference in zip(ours, exact, strict=True):
        assert mine.shape == reference.shape
        assert largest(mine, reference) < 1e-5


@pytest.mark.parametrize("channels", [64, 256])
def test_it_loses_two_bits_at_most_against_the_vendors_sum(channels):
    torch.manual_seed(0)
    x, weight = torch.randn(8, channels, 16, 16), torch.randn(channels, channels, 3, 3)
    bias = torch.zeros(channels)
    exact = results(x.double(), weight.double(), bias.double(), 1)
    ours = results(x, weight, bias, 1)
    with formulas():
        plain = results(x, weight, bias, 1)
    assert largest(ours[0], exact[0]) < max(4 * largest(plain[0], exact[0]), 4e-6)
    assert not torch.equal(ours[0], plain[0])  # the switch switches


def test_one_tile_is_the_product_of_values_taken_back():
    torch.manual_seed(0)
    x, w = torch.randn(1, 1, 6, 6, dtype=torch.float64), torch.randn(1, 1, 3, 3, dtype=torch.float64)
    tiles = torch.zeros(36, 1 + winograd.APART)
    shape = (1, 6, 6)
    y = torch.zeros(16)
    run(tiles_of_inputs, 1, x.float().flatten(), shape, True, 0, (1, 1), (0, 0), tiles)
    product = tiles[:, :1] * (torch.tensor(kernel_values()) @ w.float().flatten())[:, None]
    tiles[:, :1] = product
    run(outputs_of_tiles, 1, tiles, torch.zeros(1), y, (1, 4, 4), True, 0, 0, (1, 1))
    torch.testing.assert_close(y.view(1, 1, 4, 4).double(), torch.conv2d(x, w), atol=1e-5, rtol=1e-5)


def test_threads_share_rows_of_tiles():
    torch.manual_seed(0)
    x, weight, bias = torch.randn(4, 64, 16, 16), torch.randn(64, 64, 3, 3), torch.randn(64)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = results(x, weight, bias, 1)
        torch.set_num_threads(2)
        together = results(x, weight, bias, 1)
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(alone, together, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-3)
