"""Every layer of the catalogue keeps every promise of the layer contract."""

import contextlib

import pytest
import torch

from deeprob.layers import contract, formulas
from deeprob.layers.catalogue import LAYERS, Draw
from deeprob.layers.contract import _checks as checks
from deeprob.layers.contract import _measure as measure

torch.set_num_threads(1)


def promises():
    for layer in LAYERS:
        for check in contract.CHECKS:
            # five convolutions differentiated twice, entry by entry of their weights, take fifteen seconds
            slow = (layer.name, check.name) == ("residual_join", "gradgradcheck")
            marks = [pytest.mark.slow] if slow else []
            yield pytest.param(layer, check, id=f"{layer.name}-{check.name}", marks=marks)


@pytest.mark.parametrize(("layer", "check"), list(promises()))
def test_layer_keeps(layer, check):
    contract.verify(layer, check)


def test_a_residual_chain_keeps_its_second_derivatives_along_random_directions():
    layer = next(layer for layer in LAYERS if layer.name == "residual_join")
    for sample in layer.samples:
        if sample.size == "real":
            checks.second_derivative((layer, sample))


REFUSING = [layer for layer in LAYERS if layer.rejects]


@pytest.mark.parametrize("layer", REFUSING, ids=lambda layer: layer.name)
def test_layer_refuses_what_does_not_fit_in_words(layer):
    contract.rejects_bad_input(layer)


def test_every_function_of_the_catalogue_is_tried_with_bad_input():
    assert {layer.call for layer in LAYERS} == {layer.call for layer in REFUSING}


MODULES = [(layer.name, sample) for layer in LAYERS for sample in layer.modules]


@pytest.mark.parametrize(
    ("name", "sample"), MODULES, ids=[f"{n}-{s.name}-{i}" for i, (n, s) in enumerate(MODULES)]
)
def test_module_is_interchangeable_with_torch(name, sample):
    assert contract.module_matches_torch(sample) < 1e-4


TINY = [(layer, next(s for s in layer.samples if s.size == "tiny")) for layer in LAYERS]


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, len(TINY), 8), ids=lambda i: TINY[i][0].name)
def test_layers_compile_with_inductor(first):
    """Eight in one graph: a call of the C++ compiler takes seconds, whatever is in it."""
    cases = TINY[first : first + 8]
    inputs = [measure.draw_inputs(case, torch.float32) for case in cases]

    def everything(forms):
        outputs = []
        for form, (_, sample), xs in zip(forms, cases, inputs, strict=True):
            outputs += measure.outputs_of(form, sample, xs)
        return outputs

    def results(function, forms):
        outputs = function(forms)
        flowing = [y for y in outputs if y.requires_grad]
        wanted = [x for xs in inputs for x in xs if x is not None and x.requires_grad]
        upstream = measure.upstream_like(flowing)
        return outputs, torch.autograd.grad(flowing, wanted, upstream, allow_unused=True)

    torch._dynamo.reset()
    ours = results(torch.compile(everything, fullgraph=True), [layer.call for layer, _ in cases])
    theirs = results(everything, [layer.reference for layer, _ in cases])
    assert measure.agree(ours, theirs, measure.TOLERANCE[torch.float32]) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layer_agrees_with_torch_on_the_shapes_of_real_models(layer):
    # a gate within rounding of zero turns with the last bits of the convolution before it, and its whole
    # gradient with it: a chain of both is compared where the convolution is torch's to the bit
    gated = formulas() if layer.name == "residual_join" else contextlib.nullcontext()
    with gated:
        for sample in layer.samples:
            if sample.size == "bench":
                checks.matches_torch((layer, sample), torch.float32)


@pytest.mark.slow
def test_a_chain_of_gates_gives_torchs_outputs_by_tiles_too():
    layer = next(layer for layer in LAYERS if layer.name == "residual_join")
    sample = next(sample for sample in layer.samples if sample.size == "bench")
    inputs = sample.inputs(Draw(dtype=torch.float32))
    exact = layer.reference(*(x if x is None else x.double() for x in inputs), **sample.options)
    ours = layer.call(*inputs, **sample.options)
    with formulas():
        assert not torch.equal(ours, layer.call(*inputs, **sample.options))  # tiles were taken
    assert (ours - exact).abs().max() < 2e-5 * exact.abs().max()
