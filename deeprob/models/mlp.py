"""Multilayer perceptron: linear layers with rectifiers between, over the flattened image.

    a_0 = x flattened,  a_i = dropout(relu(norm(W_i a_{i-1} + b_i))),  logits = W a_L + b

Source: Rumelhart, Hinton and Williams, Learning representations by back-propagating errors (1986).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from deeprob.errors import InputError
from deeprob.models.backend import check_images, check_positive, input_norm_of, layers_of
from deeprob.models.initialise import he_normal, small_classifier

NORMS = ("none", "batch", "layer")


class HiddenLayer(nn.Module):
    """x (N, D) -> (N, width): linear, norm, rectifier, dropout; without norm the first and third are one."""

    def __init__(self, in_features: int, width: int, norm: str, dropout: float, backend: str) -> None:
        super().__init__()
        L = layers_of(backend)
        one = norm == "none" and backend == "deeprob"
        self.linear = (
            L.LinearReLU(in_features, width) if one else L.Linear(in_features, width, norm == "none")
        )
        norms = {"none": nn.Identity, "batch": L.BatchNorm1d, "layer": L.LayerNorm}
        self.norm = norms[norm](width)
        self.relu = nn.Identity() if one else L.ReLU()
        self.dropout = L.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(self.relu(self.norm(self.linear(x))))
        return y


class MLP(nn.Module):
    """A perceptron: images (N, in_channels, image_size, image_size) -> logits (N, num_classes).

    widths: units of each hidden layer; none gives a linear classifier. norm: none, batch or layer.
    dropout: probability behind every hidden layer. input_norm: see backend.input_norm_of.
    backend: "deeprob" or "torch": whose layers to use; weights are interchangeable.
    Raises InputError where an argument, or an image, does not fit.
    """

    def __init__(
        self,
        num_classes: int,
        widths: Sequence[int] = (512, 256),
        norm: str = "batch",
        dropout: float = 0.0,
        input_norm: bool = False,
        image_size: int = 32,
        in_channels: int = 3,
        backend: str = "deeprob",
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise InputError(f"norm={norm}", where="mlp", expected=" or ".join(NORMS))
        check_positive("mlp", image_size=image_size, in_channels=in_channels, widths=min(widths, default=1))
        self.shape = (in_channels, image_size, image_size)
        self.input_norm = input_norm_of(input_norm, in_channels, backend)
        sizes = [in_channels * image_size**2, *widths]
        self.hidden = nn.Sequential(*(HiddenLayer(a, b, norm, dropout, backend) for a, b in pairwise(sizes)))
        self.head = layers_of(backend).Linear(sizes[-1], num_classes)
        he_normal(self)
        small_classifier(self.head)

    def forward(self, x: Tensor) -> Tensor:
        check_images("mlp", x, *self.shape)
        logits: Tensor = self.head(self.hidden(self.input_norm(x).flatten(1)))
        return logits
