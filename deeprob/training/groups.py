"""Parameter groups: who decays, and who learns more slowly."""

from __future__ import annotations

from typing import Any

from torch import nn

from deeprob.training.weights import head_of


def parameter_groups(
    module: nn.Module, model: nn.Module, decay_norm_and_bias: bool, backbone_lr_factor: float
) -> list[dict[str, Any]]:
    """Divide what `module` trains into groups for an optimiser.

    Vectors (biases, norm parameters) get no weight decay unless decay_norm_and_bias. Where backbone_lr_factor
    is not 1, the parameters of `model` outside its head form groups of their own with that "lr_factor".
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    if backbone_lr_factor == 1.0:
        parts: list[tuple[list[nn.Parameter], dict[str, Any]]] = [(trained, {})]
    else:
        body = {id(p) for p in model.parameters()} - {id(p) for p in head_of(model)}
        parts = [
            ([p for p in trained if id(p) in body], {"lr_factor": backbone_lr_factor}),
            ([p for p in trained if id(p) not in body], {}),
        ]
    groups: list[dict[str, Any]] = []
    for parameters, options in parts:
        if decay_norm_and_bias:
            groups.append({"params": parameters, **options})
        else:
            groups.append({"params": [p for p in parameters if p.dim() > 1], **options})
            vectors = [p for p in parameters if p.dim() <= 1]
            groups.append({"params": vectors, "weight_decay": 0.0, **options})
    return [group for group in groups if group["params"]]
