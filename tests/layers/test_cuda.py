"""The layer contract on a GPU: `pytest -m gpu`, or `deeprob gradcheck device=cuda`."""

import pytest
import torch

from deeprob.layers import contract
from deeprob.layers.catalogue import LAYERS, drawn_on

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layer_keeps_on_a_gpu(layer, check):
    with drawn_on("cuda"):
        contract.verify(layer, check)


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer.modules], ids=lambda layer: layer.name)
def test_modules_are_interchangeable_with_torch_on_a_gpu(layer):
    with drawn_on("cuda"):
        for sample in layer.modules:
            assert contract.module_matches_torch(sample) < 1e-4
