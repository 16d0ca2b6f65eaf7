"""What runs in bfloat16 on the CPU, against float64: as exact as the rounding of what goes out."""

import pytest
import torch

from deeprob import layers
from deeprob.layers.fused._rectified_norm import coefficients, rectified, rectified_backward
from deeprob.layers.kernels import loops
from deeprob.layers.kernels.half import narrow, widen

ROUNDING = torch.finfo(torch.bfloat16).eps / 2


def copied(start, stop, x, y):
    """Y = x through float32."""
    for i in range(start, stop):
        y[i] = narrow(widen(x[i]), y)


copied.__module__ = loops.__name__  # whose functions are compiled with it


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_number_is_rounded_to_the_nearest_as_torch_does(dtype):
    step = 2.0**-7
    x = torch.tensor([1 + step / 2, 1 + 3 * step / 2, 1 + step / 2 + 1e-6, -3.14159, 3.4e38, 1e-40])
    x = torch.cat([x, torch.tensor([float("inf"), -float("inf"), float("nan")])])
    y = torch.empty(len(x), dtype=dtype)
    loops.run(copied, len(x), x, y)
    torch.testing.assert_close(y, x.to(dtype), rtol=0, atol=0, equal_nan=True)


def assert_rounded(got, exact, times=1.0):
    """Within so many roundings of the exact values, or of a hundredth of the largest where they cancel."""
    scale = exact.abs().clamp_min(1e-2 * exact.abs().max())
    assert got.dtype == torch.bfloat16
    assert float(((got.double() - exact).abs() / scale).max()) < 1.05 * times * ROUNDING


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", ["planes", "maps", "rows"])
@pytest.mark.parametrize("size", [(8, 24, 6, 6), (3, 40, 5, 7), (1, 1500, 3, 3)])
def test_a_batch_norm_of_bfloat16_is_rounded_once(size, layout, training):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size, generator=generator) * 3 + 2
    if layout == "rows":
        x = x.permute(0, 2, 3, 1).flatten(0, 2)
    elif layout == "maps":
        x = x.contiguous(memory_format=torch.channels_last)
    x, dy = x.bfloat16(), torch.randn(x.shape, generator=generator).bfloat16()
    vectors = [torch.rand(size[1], generator=generator) + 0.5 for _ in range(4)]
    found = []
    for wide in (False, True):
        x_, *rest = ([t.double() for t in (x, *vectors)]) if wide else [x, *(v.clone() for v in vectors)]
        mean, var, w, b = rest
        given = [t.requires_grad_() for t in (x_.detach().clone(), w, b)]
        y = layers.batch_norm(given[0], mean, var, *given[1:], training)
        upstream = dy.to(y.dtype).contiguous(memory_format=torch.preserve_format)
        found.append((y.detach(), *torch.autograd.grad(y, given, upstream), mean))
    (y, dx, dw, db, mean), exact = found
    assert_rounded(y, exact[0])
    assert_rounded(dx, exact[1])
    for got, expected in zip((dw, db, mean), exact[2:], strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("layer", [layers.relu, layers.leaky_relu])
def test_a_rectifier_of_bfloat16_lets_through_what_it_did(layer):
    x = torch.randn(3, 2000).bfloat16()
    x[0, :2] = torch.tensor([0.0, -0.0])
    dy = torch.randn(3, 2000).bfloat16()
    found = []
    for room in (layer, getattr(torch.nn.functional, layer.__name__)):
        tracked = x.clone().requires_grad_()
        found.append(torch.autograd.grad(room(tracked), tracked, dy)[0])
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("channels", "size", "kernel", "options"),
    [
        ((3, 8), (24, 17), 3, {"padding": 1}),
        ((4, 6), (33, 30), (3, 2), {"stride": (2, 1), "padding": (1, 0)}),
        ((4, 6), (28, 40), 3, {"dilation": (2, 3), "padding": 2}),
        ((4, 6), (26, 26), 5, {"stride": 3, "dilation": 2}),
        ((4, 6), (9, 8), 3, {}),
        ((8, 6), (12, 10), 1, {"stride": 2}),
        ((8, 6), (12, 10), 1, {"padding": 1}),
        ((6, 6), (12, 10), 3, {"groups": 6, "padding": 1}),
        ((6, 4), (12, 10), 3, {"groups": 2}),
    ],
)
def test_the_gradients_of_a_convolution_are_rounded_once(channels, size, kernel, options, layout):
    torch.manual_seed(0)
    theirs = torch.nn.Conv2d(*channels, kernel, **options)
    x = torch.randn(4, channels[0], *size).bfloat16().contiguous(memory_format=layout)
    weight, bias = theirs.weight.detach().bfloat16(), theirs.bias.detach().bfloat16()
    names = {name: getattr(theirs, name) for name in ("stride", "padding", "dilation", "groups")}
    found = []
    for dtype in (torch.bfloat16, torch.float64):
        given = [t.to(dtype, copy=True).requires_grad_() for t in (x, weight, bias)]
        y = layers.conv2d(*given, **names)
        dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).bfloat16().to(dtype)
        found.append([y, *torch.autograd.grad(y, given, dy)])
    for got, exact in zip(*found, strict=True):
        assert_rounded(got.detach(), exact.detach(), 2)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", ["none", "a map", "a norm"])
def test_a_rectified_norm_of_bfloat16_is_rounded_once(side, layout):
    generator = torch.Generator().manual_seed(0)
    z, s, dy = (
        torch.randn(4, 9, 13, 11, generator=generator).bfloat16().contiguous(memory_format=layout)
        for _ in range(3)
    )
    vectors = [torch.rand(9, generator=generator) + 0.5 for _ in range(4)]
    slope = torch.rand(9, generator=generator) if side == "a norm" else None
    found = []
    for dtype in (None, torch.float64):
        z_, s_, dy_ = (t.to(dtype or t.dtype, copy=True) for t in (z, s, dy))
        scale, shift, mean, var = (v.to(dtype or v.dtype) for v in vectors)
        a, c = coefficients(scale, shift, mean, var, 1e-5)
        b = None if slope is None else slope.to(dtype or slope.dtype)
        y = rectified(z_, a, c, None if side == "none" else s_, b)
        gradients = (
            () if side != "none" else rectified_backward(dy_, y, z_, scale, shift, mean, var, 1e-5, True)
        )
        found.append((y, *gradients))
    (y, *gradients), (exact, *expected) = found
    assert_rounded(y, exact)
    if gradients:
        assert_rounded(gradients[0], expected[0])
        for got, wanted in zip(gradients[1:], expected[1:], strict=True):
            torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
