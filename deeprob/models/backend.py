"""Where a model takes its layers from: ours, or torch's with the same names, for comparison.

A model is written once against the `Backend` interface. Both backends have the constructors and the parameter
names of torch.nn, so a state dict made with one loads into the other.
"""

from __future__ import annotations

from types import ModuleType
from typing import Literal

BackendName = Literal["deeprob", "torch"]


def layers_of(backend: str) -> ModuleType:
    """The module that holds Conv2d, BatchNorm2d, ReLU and the rest under torch.nn's names.

    Raises ValueError where `backend` is neither "deeprob" nor "torch".
    """
    if backend == "deeprob":
        import deeprob.layers

        return deeprob.layers
    if backend == "torch":
        import torch.nn

        return torch.nn
    raise ValueError(f"backend: expected deeprob or torch, got {backend!r}")
