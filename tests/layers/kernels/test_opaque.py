import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd

from deeprob.layers import (
    Conv2d,
    GroupNorm,
    MaxPool2d,
    Upsample,
    attention_block,
    conv2d,
    grid_sample,
    group_norm,
    interpolate,
    linear_cross_entropy,
    max_pool2d,
    scaled_dot_product_attention,
)
from deeprob.layers._window import pair

LAYOUTS = {"planes": torch.contiguous_format, "pixels": torch.channels_last}


def arrays(layout: str) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x, dy = torch.randn(16, 48, 16, 16), torch.randn(16, 48, 16, 16)
    fmt = LAYOUTS[layout]
    return x.contiguous(memory_format=fmt), torch.randn(48, 48, 3, 3), dy.contiguous(memory_format=fmt)


def heads() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 3, 250, 16), torch.randn(2, 3, 270, 16), torch.randn(2, 3, 270, 24)


def watched(function):
    """Compile it anew. Returns it, and a list that fills with the operations of its graphs."""
    torch.compiler.reset()
    called: list[str] = []

    def compiler(graph, _):
        called.extend(str(node.target) for node in graph.graph.nodes)
        return make_boxed_func(graph.forward)

    return torch.compile(function, fullgraph=True, backend=aot_autograd(fw_compiler=compiler)), called


def ours(called: list[str]) -> set[str]:
    """Pick our operations."""
    return {name.split(".")[1] for name in called if name.startswith("deeprob")}


OURS = torch.ops.deeprob


@pytest.mark.parametrize("layout", LAYOUTS)
def test_torch_finds_each_operation_described_as_it_is(layout):
    x, weight, dy = arrays(layout)
    geometry = ([1, 1], [1, 1], [1, 1], 1)
    torch.library.opcheck(OURS.convolution.default, (x, weight, torch.randn(48), *geometry))
    torch.library.opcheck(OURS.input_gradient.default, (dy, weight, [16, 48, 16, 16], *geometry))
    torch.library.opcheck(OURS.weight_gradient.default, (dy, x, [48, 48, 3, 3], *geometry))
    torch.library.opcheck(OURS.average.default, (x, torch.rand(8, 16), torch.rand(5, 16)))
    grid = torch.rand(16, 9, 2)
    torch.library.opcheck(OURS.grid_sample.default, (x, grid, False, False, True))
    torch.library.opcheck(
        OURS.grid_sample_backward.default, (torch.randn(16, 48, 9), x, grid, False, False, True)
    )
    torch.library.opcheck(OURS.group_norm.default, (x, 6, torch.rand(48), None, 1e-5))
    torch.library.opcheck(OURS.group_norm_backward.default, (dy, x, 6, torch.rand(48), 1e-5, layout))
    window = ([3, 2], [2, 2], [1, 0], [1, 1])
    y, taps = OURS.max_pool2d(x, *window, False)
    torch.library.opcheck(OURS.max_pool2d.default, (x, *window, False))
    torch.library.opcheck(OURS.max_pool2d_backward.default, (torch.randn_like(y), taps, [16, 16], *window))
    axes = (torch.tensor([0, 3, 7]), torch.rand(3), torch.tensor([2, 15]), torch.tensor([0.5, 0]))
    torch.library.opcheck(OURS.resize.default, (x, *axes))
    torch.library.opcheck(OURS.resize_adjoint.default, (dy[:, :, :3, :2].contiguous(), *axes, 16, 16))


def test_torch_finds_a_loss_with_its_gradients_described_as_it_is():
    target, valid = torch.randint(9, (20,)), torch.rand(20) > 0.2
    torch.library.opcheck(
        OURS.linear_cross_entropy.default, (torch.randn(20, 5), torch.randn(9, 5), target, valid, 8)
    )


@pytest.mark.parametrize("masked", [False, True])
def test_torch_finds_attention_described_as_it_is(masked):
    q, k, v = heads()
    mask = torch.randn(1, 3, 250, 270) if masked else None
    dy = torch.randn(2, 250, 3, 24).transpose(1, 2)
    torch.library.opcheck(OURS.attention.default, (q, k, v, mask, None, 0.25, not masked, 0.0))
    torch.library.opcheck(OURS.attention_backward.default, (dy, q, k, v, mask, None, 0.25, not masked, 0.0))


@pytest.mark.parametrize("size", [16, 24])
def test_torch_finds_the_gradients_of_self_attention_described_as_they_are(size):
    qkv, dy = torch.randn(2, 9, 3, 4, size).permute(2, 0, 3, 1, 4), torch.randn(2, 9, 4, size)
    torch.library.opcheck(OURS.self_attention_backward.default, (dy.transpose(1, 2), qkv, 0.25, False, 0.0))


def test_a_compiled_attention_block_calls_the_loops():
    torch.manual_seed(0)
    shapes = [(2, 9, 32), (32,), (32,), (96, 32), (96,), (32, 32), (32,)]
    inputs = [(torch.randn(*s) / 4).requires_grad_() for s in shapes]
    compiled, called = watched(attention_block)
    y, expected = (f(*inputs, heads=2) for f in (compiled, attention_block))
    dy = torch.randn_like(expected)
    for a, b in zip(*(torch.autograd.grad(out, inputs, dy) for out in (y, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert ours(called) == {"attention", "self_attention_backward"}


def same_compiled(function, inputs: list[Tensor], **options) -> set[str]:
    """Hold what is compiled to the eager function and its gradients, to the last bit. Returns operations."""
    compiled, called = watched(function)
    y, expected = (f(*inputs, **options) for f in (compiled, function))
    dy = torch.randn_like(expected)
    got, wanted = (torch.autograd.grad(out, inputs, dy) for out in (y, expected))
    for a, b in zip((y, *got), (expected, *wanted), strict=True):
        assert torch.equal(a, b)
    assert (y.stride(), got[0].stride()) == (expected.stride(), wanted[0].stride())
    return ours(called)


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
    kernel, groups, *window = GEOMETRIES[geometry]
    x = arrays(layout)[0].requires_grad_()
    weight = torch.randn(48, 48 // groups, *pair(kernel), requires_grad=True)
    found = same_compiled(lambda x, weight: conv2d(x, weight, None, *window, groups), [x, weight])
    assert found == {"convolution", "input_gradient", "weight_gradient"}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [3, 48])
@pytest.mark.parametrize("options", [{}, {"padding_mode": "border", "align_corners": True}])
def test_a_compiled_grid_sample_is_the_eager_one_to_the_last_bit(layout, channels, options):
    x = arrays(layout)[0][:, :channels].contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    grid = (torch.rand(16, 5, 7, 2) * 2.4 - 1.2).requires_grad_()
    assert same_compiled(grid_sample, [x, grid], **options) == {"grid_sample", "grid_sample_backward"}


def test_a_compiled_group_norm_of_pixels_is_the_eager_one_to_the_last_bit():
    x, weight, bias = arrays("pixels")[0], torch.rand(48), torch.randn(48)
    inputs = [t.requires_grad_() for t in (x, weight, bias)]
    found = same_compiled(lambda x, weight, bias: group_norm(x, 6, weight, bias), inputs)
    assert found == {"group_norm", "group_norm_backward"}


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"attn_mask": torch.rand(250, 270) > 0.3}])
def test_a_compiled_attention_is_the_eager_one_to_the_last_bit(options):
    inputs = [x.requires_grad_() for x in heads()]
    found = same_compiled(scaled_dot_product_attention, inputs, **options)
    assert found == {"attention", "attention_backward"}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("window", [(2,), (3, 2, 1), ((2, 4), 3, (1, 0), 2, True)])
def test_a_compiled_max_pool_is_the_eager_one_to_the_last_bit(layout, window):
    inputs = [arrays(layout)[0].requires_grad_()]
    assert same_compiled(lambda x: max_pool2d(x, *window), inputs) == {"max_pool2d", "max_pool2d_backward"}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_compiled_interpolation_is_the_eager_one_to_the_last_bit(layout, mode):
    inputs = [arrays(layout)[0].requires_grad_()]
    found = same_compiled(lambda x: interpolate(x, (7, 40), mode=mode), inputs)
    assert found == {"resize", "resize_adjoint"}


def test_a_compiled_linear_cross_entropy_is_the_eager_one_to_the_last_bit():
    target = torch.randint(9, (20,))
    target[3] = -100
    inputs = [torch.randn(20, 5, requires_grad=True), torch.randn(9, 5, requires_grad=True)]
    found = same_compiled(lambda x, weight: linear_cross_entropy(x, weight, target, rows=8), inputs)
    assert found == {"linear_cross_entropy"}


def test_a_compiled_attention_whose_mask_is_learnt_is_the_formula_backward():
    inputs = [x.requires_grad_() for x in (*heads(), torch.randn(250, 270))]
    torch.compiler.reset()
    compiled = torch.compile(scaled_dot_product_attention, fullgraph=True, backend="aot_eager")
    y, expected = (f(*inputs) for f in (compiled, scaled_dot_product_attention))
    dy = torch.randn_like(expected)
    torch.testing.assert_close(*(torch.autograd.grad(out, inputs, dy) for out in (y, expected)))


class Sampled(torch.nn.Module):
    def forward(self, x: Tensor, grid: Tensor) -> Tensor:
        return grid_sample(x, grid)


class Attended(torch.nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return scaled_dot_product_attention(q, k, v)


EXPORTED = {
    "convolution": (Conv2d(48, 48, 3, padding=1).eval(), (torch.randn(16, 48, 16, 16),)),
    "group_norm": (GroupNorm(6, 48), (arrays("pixels")[0],)),
    "max_pool2d": (MaxPool2d(2), (torch.randn(2, 16, 16, 16),)),
    "interpolate": (Upsample(scale_factor=2), (torch.randn(2, 3, 8, 8),)),
    "grid_sample": (Sampled(), (torch.randn(2, 3, 8, 8), torch.rand(2, 4, 4, 2))),
    "attention": (Attended(), heads()),
}


@pytest.mark.parametrize("layer", EXPORTED)
def test_a_graph_for_export_has_no_operation_of_ours(layer):
    module, inputs = EXPORTED[layer]
    assert "deeprob" not in str(torch.export.export(module, inputs).graph)
