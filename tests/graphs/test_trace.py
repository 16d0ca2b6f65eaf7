"""Tracing: what ran, what it cost and what flowed."""

import pytest
import torch
from torch import nn

from deeprob import layers as L
from deeprob.errors import InputError
from deeprob.graphs.trace import INPUT, trace
from deeprob.layers._function import Function
from deeprob.layers.catalogue import LAYERS, Draw
from deeprob.models.resnet import ResNet


class Branches(nn.Module):
    """A shared module, a block with mathematics of its own, control flow and a torch operation."""

    def __init__(self):
        super().__init__()
        self.conv = L.Conv2d(3, 4, 3, padding=1)
        self.relu = L.ReLU()
        self.fc = L.Linear(4, 2)

    def forward(self, x):
        y = self.relu(self.conv(x))
        if y.shape[0] > 0:
            y = self.relu(L.add(y, y.flip(3)))
        return self.fc(y.mean((2, 3)))


def test_layers_come_in_the_order_they_ran_with_their_edges():
    found = trace(Branches(), torch.randn(2, 3, 5, 5))
    names = [layer.name for layer in found.layers]
    assert names == ["conv", "relu", "flip", "add", "relu:2", "mean", "fc"]
    sources = {
        layer.name: [names[s] if s != INPUT else "input" for s in layer.sources] for layer in found.layers
    }
    assert sources == {
        "conv": ["input"],
        "relu": ["conv"],
        "flip": ["relu"],
        "add": ["relu", "flip"],
        "relu:2": ["add"],
        "mean": ["relu:2"],
        "fc": ["mean"],
    }
    assert [layer.shape for layer in found.layers][-2:] == [(2, 4), (2, 2)]


def test_parameters_and_flops_are_counted_where_they_are():
    model = Branches()
    found = {layer.name: layer for layer in trace(model, torch.randn(2, 3, 5, 5)).layers}
    assert found["conv"].parameters == 4 * 3 * 9 + 4
    assert found["conv"].flops == 2 * 2 * 25 * 4 * 27
    assert found["fc"].flops == 2 * 2 * 4 * 2
    assert sum(layer.parameters for layer in found.values()) == sum(p.numel() for p in model.parameters())


def test_parameters_that_a_function_takes_directly_are_counted_once():
    class Direct(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = L.Linear(4, 4)
            self.shift = nn.Parameter(torch.zeros(4))

        def forward(self, x):
            return L.linear(self.inner(x) + self.shift, self.inner.weight)

    found = trace(Direct(), torch.randn(2, 4)).layers
    assert [(layer.name, layer.parameters) for layer in found] == [("inner", 20), ("add", 4), ("linear", 0)]


def test_a_large_linear_layers_flops_are_counted_too():
    """Large products go through another engine than torch's own."""
    (layer,) = trace(L.Linear(1024, 512), torch.randn(16, 1024)).layers
    assert layer.flops == 2 * 16 * 1024 * 512


def test_saved_bytes_are_what_backward_keeps_beyond_parameters():
    model = nn.Sequential(L.Linear(8, 16), L.Sigmoid(), L.Linear(16, 4))
    first, sigmoid, last = trace(model, torch.randn(10, 8)).layers
    assert first.saved_bytes == 10 * 8 * 4
    assert sigmoid.saved_bytes == 10 * 16 * 4
    assert last.saved_bytes == 0  # its input is what the sigmoid keeps already


def test_norms_are_those_of_the_tensors():
    torch.manual_seed(0)
    model, x = Branches(), torch.randn(2, 3, 5, 5)
    found = {layer.name: layer for layer in trace(model, x, loss=lambda y: y.square().sum()).layers}
    hidden = model.conv(x)
    hidden.retain_grad()
    y = model.relu(hidden)
    y = model.fc(model.relu(y + y.flip(3)).mean((2, 3)))
    y.square().sum().backward()
    assert found["conv"].flow.norm == pytest.approx(float(hidden.detach().norm()), rel=1e-5)
    assert found["conv"].gradient == pytest.approx(float(hidden.grad.norm()), rel=1e-4)
    assert found["fc"].flow.norm == pytest.approx(float(y.detach().norm()), rel=1e-5)


def test_the_model_is_left_as_it_was():
    model = Branches()
    model.fc.weight.grad = torch.ones(2, 4)
    apply = Function.__dict__["apply"]
    trace(model, torch.randn(2, 3, 5, 5))
    assert Function.__dict__["apply"] is apply
    assert model.fc.weight.grad.tolist() == [[1] * 4] * 2
    assert model.conv.weight.grad is None
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in vars(module)


def test_ours_and_torchs_network_have_the_same_graph():
    shapes = []
    for backend in ("deeprob", "torch"):
        found = trace(ResNet(5, blocks=(1, 1), width=8, backend=backend), torch.randn(2, 3, 32, 32))
        shapes.append([(layer.name, layer.shape, layer.flops, layer.sources) for layer in found.layers])
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_every_layer_of_the_catalogue_can_be_traced(layer):
    sample = layer.samples[0]
    inputs = list(sample.inputs(Draw()))
    for i, x in enumerate(inputs):
        if isinstance(x, torch.Tensor) and x.is_floating_point() and i not in layer.constants:
            inputs[i] = x.requires_grad_()
    found = trace(lambda *xs: layer.call(*xs, **sample.options), *inputs)
    assert found.layers
    assert found.layers[0].sources == [INPUT]
    assert any(traced.gradient is not None for traced in found.layers)


def test_an_input_that_does_not_fit_is_one_line():
    with pytest.raises(InputError, match=r"the model refuses an input \(2, 4, 5, 5\): conv2d: expected"):
        trace(Branches(), torch.randn(2, 4, 5, 5))
    assert "forward" not in vars(Branches().conv)
