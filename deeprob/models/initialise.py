"""How weights start, with the papers that say why."""

from __future__ import annotations

from torch import nn


def he_normal(model: nn.Module) -> None:
    """Convolutions and linear layers: normal, variance 2 / fan, biases zero.

    The variance keeps the size of what flows through rectifiers: forward for linear layers (fan in), backward
    for convolutions (fan out). Source: He et al., Delving deep into rectifiers (2015), sections 2.2.
    """
    for module in model.modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if weight is None or weight.dim() < 2:
            continue
        nn.init.kaiming_normal_(
            weight, mode="fan_out" if weight.dim() == 4 else "fan_in", nonlinearity="relu"
        )
        if bias is not None:
            nn.init.zeros_(bias)


def small_classifier(layer: nn.Module) -> None:
    """Normal, standard deviation 0.01, bias zero: the first loss is log C.

    Source: Krizhevsky et al., ImageNet classification with deep convolutional neural networks (2012), 5.
    """
    nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def transformer(model: nn.Module) -> None:
    """Linear layers: normal of standard deviation 0.02, biases zero.

    Source: Dosovitskiy et al., An image is worth 16x16 words (2021), after Devlin et al., BERT (2019).
    """
    for module in model.modules():
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if weight is None or weight.dim() != 2:
            continue
        nn.init.normal_(weight, std=0.02)
        if bias is not None:
            nn.init.zeros_(bias)
