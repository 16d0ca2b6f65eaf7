"""What convolution computes in more than one way."""

import pytest
import torch

from deeprob.layers import formulas
from deeprob.layers._window import Geometry
from deeprob.layers.conv import weight_gradient
from deeprob.layers.kernels import conv as fast

GEOMETRIES = {
    "3x3": ((3, 4, 9, 8), (6, 4, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "strided, dilated, in groups": ((2, 4, 9, 8), (6, 2, 3, 2), (2, 1), (1, 0), (1, 2), 2),
    "depthwise": ((2, 4, 7, 7), (4, 1, 3, 3), (1, 1), (1, 1), (1, 1), 4),
    "1x1, strided, in groups": ((2, 4, 7, 6), (6, 2, 1, 1), (2, 3), (0, 0), (1, 1), 2),
    "a stem": ((2, 3, 27, 29), (5, 3, 7, 7), (2, 2), (3, 3), (1, 1), 1),
}


@pytest.mark.parametrize("windows_at_a_time", [1, 1 << 26])
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_the_other_forms_of_the_weight_gradient_are_the_formula(monkeypatch, geometry, windows_at_a_time):
    x_shape, w_shape, *options = geometry
    monkeypatch.setattr(fast, "WINDOWS", windows_at_a_time)
    torch.manual_seed(0)
    x, weight = torch.randn(x_shape).double(), torch.randn(w_shape).double()
    dy = torch.randn_like(torch.conv2d(x, weight, None, *options))
    given = (dy, x, w_shape, Geometry(*options))
    with formulas():
        expected = weight_gradient(*given)
    for form in (fast.product_with_windows, fast.swapped_convolution):
        assert torch.allclose(form(*given), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("geometry", ["a stem", "depthwise"])
def test_the_weight_gradient_of_half_precision_is_summed_in_float32_and_rounded_once(geometry):
    x_shape, w_shape, *options = GEOMETRIES[geometry]
    torch.manual_seed(0)
    x, weight = torch.randn(x_shape).bfloat16(), torch.randn(w_shape).bfloat16()
    dy = torch.randn_like(torch.conv2d(x, weight, None, *options))
    with torch.no_grad():
        got = weight_gradient(dy, x, w_shape, Geometry(*options))
        expected = weight_gradient(dy.float(), x.float(), w_shape, Geometry(*options))
    assert torch.equal(got, expected.bfloat16())
