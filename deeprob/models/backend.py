"""Where a model takes its layers from: ours, or torch's with the same names, for comparison.

A model is written once against the `Backend` interface. Both backends have the constructors and the parameter
names of torch.nn, so a state dict made with one loads into the other.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from deeprob.errors import InputError

COLOURS = 3  # the channels of an image that a camera took

BackendName = Literal["deeprob", "torch"]


def layers_of(backend: str) -> ModuleType:
    """The module that holds Conv2d, BatchNorm2d, ReLU and the rest under torch.nn's names.

    Raises ValueError where `backend` is neither "deeprob" nor "torch".
    """
    if backend == "deeprob":
        import deeprob.layers

        return deeprob.layers
    if backend == "torch":
        return nn
    raise ValueError(f"backend: expected deeprob or torch, got {backend!r}")


class Operations(NamedTuple):
    """What torch.nn has no module for.

    add: a + b, mul: a b, shapes broadcast. attention: softmax(q k^T / sqrt(E)) v of q, k, v (N, H, L, E).
    matmul: a b of matrices (..., N, K), (..., K, M).
    """

    add: Callable[[Tensor, Tensor], Tensor]
    mul: Callable[[Tensor, Tensor], Tensor]
    attention: Callable[[Tensor, Tensor, Tensor], Tensor]
    matmul: Callable[[Tensor, Tensor], Tensor]


def operations_of(backend: str) -> Operations:
    """The backend's functions. Raises ValueError where `backend` is neither "deeprob" nor "torch"."""
    if layers_of(backend) is nn:
        return Operations(torch.add, torch.mul, nn.functional.scaled_dot_product_attention, torch.matmul)
    from deeprob import layers

    return Operations(layers.add, layers.mul, layers.scaled_dot_product_attention, layers.matmul)


def input_norm_of(wanted: bool, channels: int, backend: str) -> nn.Module:
    """Every colour of every image to mean 0 and variance 1, so that no exposure or colour cast is seen.

    Channels after the third are no colours and stay as they are: of a pixel's place nothing would be left.
    Where not `wanted`, the image as it is. Source: instance normalisation, Ulyanov et al. (2016).
    """
    if not wanted:
        return nn.Identity()
    colours = min(channels, COLOURS)
    norm: nn.Module = layers_of(backend).GroupNorm(colours, colours, affine=False)
    return norm if channels == colours else OfColours(norm)


class OfColours(nn.Module):
    """A layer for the first three channels of images (N, C, H, W), C > 3; the others stay as they are."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        colours = x[:, :COLOURS].clone()  # close together, in the order of x: channels_last stays so
        return torch.cat([self.layer(colours), x[:, COLOURS:]], 1)


def check_images(name: str, x: Tensor, channels: int, height: int, width: int) -> None:
    """Raise InputError unless x is (N, channels, height, width), what the network was made for."""
    if x.shape[1:] != (channels, height, width):
        raise InputError(
            f"images of shape {tuple(x.shape[1:])}",
            where=name,
            expected=(channels, height, width),
            fix="set model.image_size and model.in_channels to what the data gives",
        )


def check_positive(name: str, **numbers: int) -> None:
    """Raise InputError unless every number is at least 1."""
    check_least(name, 1, **numbers)


def check_least(name: str, least: int, **numbers: int) -> None:
    """Raise InputError unless every number is at least `least`."""
    for what, number in numbers.items():
        if number < least:
            raise InputError(f"{what}={number}", where=name, expected=f"at least {least}")
