"""The CPU's pooling loops against torch: windows of every sort, ties, infinities and NaN, in both layouts."""

import pytest
import torch
from torch.nn import functional

from deeprob.layers import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from deeprob.layers.avg_pool import TilesFunction
from deeprob.layers.kernels import pooling


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("values", ["few", "infinite", "nan"])
@pytest.mark.parametrize(
    "window",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 2},
        {"kernel_size": (2, 5), "stride": (3, 2), "padding": (1, 2), "ceil_mode": True},
        {"kernel_size": (4, 4), "stride": 5, "padding": 2, "ceil_mode": True},
        {"kernel_size": 1, "stride": 3},
    ],
)
def test_the_loops_choose_the_same_winners_as_torch(window, values, layout):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(3, (3, 16, 17, 14), generator=generator).float()  # ties everywhere
    if values != "few":
        x[torch.rand(x.shape, generator=generator) < 0.3] = float("-inf" if values == "infinite" else "nan")
        x[:, 3] = float("-inf")
    x = x.contiguous(memory_format=layout).requires_grad_()
    assert x.numel() >= pooling.LOOP_FROM
    y, expected = max_pool2d(x, **window), functional.max_pool2d(x, **window)
    torch.testing.assert_close(y, expected, rtol=0, atol=0, equal_nan=True)
    dy = torch.rand(y.shape, generator=generator).contiguous(memory_format=layout)
    got, expected = (torch.autograd.grad(output, x, dy)[0] for output in (y, expected))
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    assert got.stride() == x.stride()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("value", [0.0, float("inf"), float("nan")])
@pytest.mark.parametrize(
    ("ours", "theirs", "window"),
    [
        (avg_pool2d, functional.avg_pool2d, {"kernel_size": 2}),
        (avg_pool2d, functional.avg_pool2d, {"kernel_size": 3, "stride": 2, "padding": 1}),
        (avg_pool2d, functional.avg_pool2d, {"kernel_size": (2, 5), "stride": (3, 7), "ceil_mode": True}),
        (adaptive_avg_pool2d, functional.adaptive_avg_pool2d, {"output_size": (6, 4)}),
        (adaptive_avg_pool2d, functional.adaptive_avg_pool2d, {"output_size": (20, 30)}),
    ],
)
def test_the_loops_of_averages_agree_with_torch(layout, value, ours, theirs, window):
    x = torch.randn(40, 12, 13, 15)
    x[0, 0, 4, 5] = value
    x = x.contiguous(memory_format=layout).requires_grad_()
    assert x.numel() >= pooling.LOOP_FROM
    assert pooling.layout_of(x) == layout
    y, expected = ours(x, **window), theirs(x, **window)
    dy = torch.randn_like(expected)
    got, wanted = (torch.autograd.grad(out, x, dy)[0] for out in (y, expected))
    torch.testing.assert_close((y, got), (expected, wanted), equal_nan=True)
    assert (y.stride(), got.stride()) == (expected.stride(), x.stride())


@pytest.mark.parametrize("layout", ["planes", "pixels"])
def test_an_average_of_windows_side_by_side_is_the_one_by_matrices(layout):
    x = torch.randn(2, 3, 7, 8, dtype=torch.float64)
    as_pixels = layout == "pixels"
    x = x.contiguous(memory_format=torch.channels_last if as_pixels else torch.contiguous_format)
    x.requires_grad_()
    y, expected = TilesFunction.apply(x, (3, 2), as_pixels), avg_pool2d(x, (3, 2))
    torch.testing.assert_close(y, expected)
    assert y.stride() == torch.nn.functional.avg_pool2d(x, (3, 2)).stride()
    dy = torch.randn_like(y)
    dx, wanted = (torch.autograd.grad(out, x, dy)[0] for out in (y, expected))
    torch.testing.assert_close(dx, wanted)
    assert dx.stride() == x.stride()
    average = lambda x: TilesFunction.apply(x, (3, 2), as_pixels)  # noqa: E731
    assert torch.autograd.gradcheck(average, (x,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(average, (x,))
