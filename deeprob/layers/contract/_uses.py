"""Promises beside the gradients: bad input is refused, and a module can stand in for torch.nn's."""

import torch

from ..catalogue import Draw, Layer, ModuleSample
from ._measure import TOLERANCE, ContractError, agree, upstream_like


def rejects_bad_input(layer: Layer) -> float:
    """Check that what does not fit raises one ValueError that says what was expected and what was got."""
    for inputs, options in layer.rejects:
        try:
            layer.call(*inputs(Draw()), **options)
        except ValueError as mistake:
            if not all(word in str(mistake) for word in ("expected", "got")) or "\n" in str(mistake):
                raise ContractError(
                    f"the error says neither what was expected nor what was got: {mistake}"
                ) from mistake
        else:
            raise ContractError("bad input went through without an error")
    return 0.0


def module_matches_torch(sample: ModuleSample) -> float:
    """Check a module against torch.nn's: constructor, state dict, outputs, gradients and buffers."""
    from deeprob import layers

    torch.manual_seed(0)
    theirs = getattr(torch.nn, sample.name)(*sample.args, **sample.options).to(Draw.where)
    ours = getattr(layers, sample.name)(*sample.args, **sample.options).to(Draw.where)
    ours.load_state_dict(theirs.state_dict())
    bound, largest = TOLERANCE[torch.float32], 0.0
    for training in (True, False):
        results = []
        for m in (ours.train(training), theirs.train(training)):
            inputs = [
                x.requires_grad_() if x is not None and x.is_floating_point() else x
                for x in sample.inputs(Draw(dtype=torch.float32))
            ]
            y = m(*(x.clone() if x is not None else x for x in inputs))  # a leaf may not be overwritten
            parameters = [*(x for x in inputs if x is not None and x.requires_grad), *m.parameters()]
            gradients = torch.autograd.grad(y, parameters, upstream_like([y])[0], allow_unused=True)
            results.append(([y], [*gradients, *m.state_dict().values()]))
        largest = max(largest, agree(results[0], results[1], bound))
    return largest
