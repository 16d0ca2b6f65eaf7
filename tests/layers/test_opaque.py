import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd

from deeprob.layers import Conv2d, conv2d
from deeprob.layers._window import pair
from deeprob.layers.avg_pool import traced_between
from deeprob.layers.conv import traced_convolution, traced_input_gradient, traced_weight_gradient

LAYOUTS = {"planes": torch.contiguous_format, "pixels": torch.channels_last}


def arrays(layout: str) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x, dy = torch.randn(16, 48, 16, 16), torch.randn(16, 48, 16, 16)
    fmt = LAYOUTS[layout]
    return x.contiguous(memory_format=fmt), torch.randn(48, 48, 3, 3), dy.contiguous(memory_format=fmt)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_torch_finds_each_operation_described_as_it_is(layout):
    x, weight, dy = arrays(layout)
    geometry = ([1, 1], [1, 1], [1, 1], 1)
    torch.library.opcheck(traced_convolution, (x, weight, torch.randn(48), *geometry))
    torch.library.opcheck(traced_input_gradient, (dy, weight, [16, 48, 16, 16], *geometry))
    torch.library.opcheck(traced_weight_gradient, (dy, x, [48, 48, 3, 3], *geometry))
    torch.library.opcheck(traced_between, (x, torch.rand(8, 16), torch.rand(5, 16)))


GEOMETRIES = {  # kernel, groups, then stride, padding, dilation
    "tiles": (3, 1, 1, 1, 1),
    "stride": (3, 1, 2, 1, 1),
    "dilation": (3, 1, 1, (2, 3), 2),
    "groups": (3, 4, 1, 1, 1),
    "depthwise": (3, 48, (2, 1), 1, 1),
    "pointwise": (1, 1, 1, 0, 1),
    "shortcut": (1, 1, 2, 0, 1),
    "wide": ((5, 4), 1, (3, 2), (2, 0), 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_compiled_convolution_is_the_eager_one_to_the_last_bit(layout, geometry):
    torch.compiler.reset()
    kernel, groups, *window = GEOMETRIES[geometry]
    x = arrays(layout)[0].requires_grad_()
    weight = torch.randn(48, 48 // groups, *pair(kernel), requires_grad=True)
    called = []

    def compiler(graph, _):
        called.extend(str(node.target) for node in graph.graph.nodes)
        return make_boxed_func(graph.forward)

    compiled = torch.compile(conv2d, fullgraph=True, backend=aot_autograd(fw_compiler=compiler))
    y, expected = (f(x, weight, None, *window, groups) for f in (compiled, conv2d))
    dy = torch.randn_like(expected)
    got, wanted = (torch.autograd.grad(out, (x, weight), dy) for out in (y, expected))
    for a, b in zip((y, *got), (expected, *wanted), strict=True):
        assert torch.equal(a, b)
    assert (y.stride(), got[0].stride()) == (expected.stride(), wanted[0].stride())
    ours = {name.split(".")[1] for name in called if name.startswith("deeprob")}
    assert ours == {"convolution", "input_gradient", "weight_gradient"}


def test_a_graph_for_export_has_no_operation_of_ours():
    exported = torch.export.export(Conv2d(48, 48, 3, padding=1).eval(), (torch.randn(16, 48, 16, 16),))
    assert "deeprob" not in str(exported.graph)
