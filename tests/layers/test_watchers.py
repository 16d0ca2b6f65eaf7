"""Tools that look at every operation of torch's see the whole of a layer."""

import io

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from deeprob import layers
from deeprob.layers.catalogue import LAYERS, Draw
from deeprob.layers.contract import _measure as measure


def cases():
    for layer in LAYERS:
        large = [s for s in layer.samples if s.size == "real"]
        if large and layer.name != "dropout":  # random
            yield pytest.param(layer, large[0], id=layer.name)


def drawn(sample, seed):
    return sample.inputs(Draw(seed, torch.float32))


@pytest.mark.parametrize(("layer", "sample"), list(cases()))
def test_a_recorded_graph_gives_the_gradients_of_other_inputs(layer, sample):
    upstream = measure.upstream_like(measure.outputs_of(layer.call, sample, drawn(sample, 1)), seed=2)

    def step(*inputs):
        inputs = measure.track(layer, inputs)
        outputs = measure.outputs_of(layer.call, sample, inputs)
        wanted = [x for x in inputs if x is not None and x.requires_grad]
        return *outputs, *torch.autograd.grad(outputs, wanted, upstream)

    recorded = make_fx(step)(*drawn(sample, 0))
    measure.compare(recorded(*drawn(sample, 1)), step(*drawn(sample, 1)), 1e-4, "tensor")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch.jit's, that it is old and that sizes are constants
@pytest.mark.parametrize(("layer", "sample"), list(cases()))
def test_a_script_traced_saved_and_loaded_gives_the_outputs_of_other_inputs(layer, sample):
    given = drawn(sample, 0)
    present = [i for i, x in enumerate(given) if x is not None]

    def call(*tensors):
        inputs = list(given)
        for i, x in zip(present, tensors, strict=True):
            inputs[i] = x
        return tuple(measure.outputs_of(layer.call, sample, inputs))

    traced = torch.jit.trace(call, tuple(given[i] for i in present), check_trace=False)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    other = drawn(sample, 1)
    got = torch.jit.load(file)(*(other[i] for i in present))
    measure.compare(got, measure.outputs_of(layer.call, sample, other), 1e-4, "output")


def test_all_products_of_a_convolution_are_counted():
    x = torch.randn(2, 64, 32, 32, requires_grad=True)
    weight = torch.randn(64, 64, 3, 3, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        layers.conv2d(x, weight, padding=1).sum().backward()
    assert counter.get_total_flops() == 3 * 2 * 2 * 32 * 32 * 64 * 64 * 9


def test_all_products_of_attention_are_counted():
    q, k, v = (torch.randn(1, 2, 128, 16, requires_grad=True) for _ in range(3))
    with FlopCounterMode(display=False) as counter:
        layers.scaled_dot_product_attention(q, k, v).sum().backward()
    assert counter.get_total_flops() == 7 * 2 * 2 * 128 * 128 * 16  # QK, PV; QK again, dP, dV, dQ, dK
