"""The CPU's pooling loops against torch: windows of every sort, ties, infinities and NaN, in both layouts."""

import pytest
import torch
from torch.nn import functional

from deeprob.layers import _pooling, max_pool2d


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
    assert x.numel() >= _pooling.LOOP_FROM
    y, expected = max_pool2d(x, **window), functional.max_pool2d(x, **window)
    torch.testing.assert_close(y, expected, rtol=0, atol=0, equal_nan=True)
    dy = torch.rand(y.shape, generator=generator).contiguous(memory_format=layout)
    got, expected = (torch.autograd.grad(output, x, dy)[0] for output in (y, expected))
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    assert got.stride() == x.stride()
