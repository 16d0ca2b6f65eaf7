"""Layers on the meta device: shapes and dtypes without numbers."""

import pytest
import torch

from deeprob import layers
from deeprob.layers.catalogue import LAYERS, Draw
from deeprob.layers.contract import _measure as measure


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_a_layer_gives_the_shapes_of_outputs_and_gradients(layer):
    for sample in (s for s in layer.samples if s.size == "tiny"):
        inputs = sample.inputs(Draw(dtype=torch.float32))
        expected = measure.outputs_of(layer.call, sample, inputs)
        shapes = measure.track(layer, [None if x is None else x.to("meta") for x in inputs])
        outputs = measure.outputs_of(layer.call, sample, shapes)
        assert [(y.shape, y.dtype, y.is_meta) for y in outputs] == [
            (y.shape, y.dtype, True) for y in expected
        ]
        wanted = [x for x in shapes if x is not None and x.requires_grad]
        upstream = [torch.empty_like(y) for y in outputs]
        for x, dx in zip(wanted, torch.autograd.grad(outputs, wanted, upstream), strict=True):
            assert (dx.shape, dx.dtype, dx.is_meta) == (x.shape, x.dtype, True)


def test_a_model_is_made_of_shapes_and_gets_its_numbers_later():
    with torch.device("meta"):
        model = layers.Sequential(layers.Linear(3, 4), layers.ReLU(), layers.Linear(4, 2))
        assert model(torch.empty(5, 3)).shape == (5, 2)
    model = model.to_empty(device="cpu")
    model.load_state_dict({name: torch.ones_like(p) for name, p in model.state_dict().items()})
    assert model(torch.ones(1, 3)).tolist() == [[17, 17]]
