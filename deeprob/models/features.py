"""What stands before a classifier that takes vectors: pixels, features by rule, or a trained network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from deeprob.data import features
from deeprob.errors import InputError
from deeprob.models.backend import COLOURS, check_images, check_positive, input_norm_of

CELLS = 8  # of the histograms of gradients, on a side of the image

FEATURES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "pixels": features.pixels,
    "histogram": features.colour_histogram,
    "hog": lambda images: features.hog(images, max(images.shape[-1] // CELLS, 1)),
}
"""Name -> images (N, C, H, W) -> features (N, D)."""


class Features(nn.Module):
    """Images (N, in_channels, image_size, image_size) -> features (N, num_features); nothing here is trained.

    kind: pixels, histogram or hog, or several joined by + such as hog+histogram; ignored where there is a
        network. network: a trained classifier; its features are what its last linear layer takes.
    input_norm: see backend.input_norm_of; a network has its own.
    Raises InputError where the kind is unknown or sees colours alone, or the network has no linear layer at
    its end or takes other images.
    """

    def __init__(
        self,
        kind: str = "pixels",
        image_size: int = 32,
        in_channels: int = 3,
        input_norm: bool = False,
        network: nn.Module | None = None,
    ) -> None:
        super().__init__()
        check_positive("features", image_size=image_size, in_channels=in_channels)
        self.names = kind.split("+")
        unknown = [name for name in self.names if name not in FEATURES]
        if unknown and network is None:
            raise InputError(
                f"no features named {unknown[0]!r}",
                where="model.features",
                expected=f"{', '.join(FEATURES)}, several joined by +, or the folder of a run",
            )
        blind = [name for name in self.names if name != "pixels"]
        if network is None and blind and in_channels > COLOURS:
            raise InputError(
                f"{blind[0]} of images with {in_channels} channels",
                where="model.features",
                expected="colours alone",
                fix="set data.view.channels=3, or model.features=pixels",
            )
        self.shape = (in_channels, image_size, image_size)
        self.input_norm = input_norm_of(input_norm and network is None, in_channels, "deeprob")
        self.network = None if network is None else without_head(network).requires_grad_(False)
        try:
            with torch.no_grad():
                self.num_features = self.eval()(torch.zeros(1, *self.shape)).shape[1]
        except InputError as error:
            if network is None:
                raise
            raise InputError(
                f"the network takes no images of shape {self.shape}",
                where="model.features",
                fix="set data.view as its run has it",
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        check_images("features", images, *self.shape)
        if self.network is not None:
            return self.network(images).flatten(1)  # type: ignore[no-any-return]
        images = self.input_norm(images)
        if self.names == ["pixels"]:
            return images.flatten(1)  # a gradient, where one is asked for, goes through
        return torch.cat([FEATURES[name](images) for name in self.names], 1)

    def pictures(self, weight: Tensor) -> Tensor | None:
        """Rows (n, num_features) that multiply the features, as images (n, C, H, W); None but for pixels."""
        if self.network is not None or self.names != ["pixels"]:
            return None
        return weight.detach().reshape(len(weight), *self.shape)

    def train(self, mode: bool = True) -> Features:
        """Stay as it is: a trained network's batch norms and dropout are not to learn again."""
        return super().train(False)


class Encoder:
    """What the last linear layer of a network takes: `encoder(images)` -> features (N, D).

    The network is run as it is, so that its own normalisation, pools and dropout are part of it.
    Raises InputError for a network that has no linear layer at its end.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.head: Any = network.get_submodule(last_linear(network))

    @property
    def num_features(self) -> int:
        return int(self.head.in_features)

    def __call__(self, images: Tensor) -> Tensor:
        taken: list[Tensor] = []
        handle: Any = self.head.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
        try:
            self.network(images)
        finally:
            handle.remove()
        if len(taken) != 1:
            raise InputError(
                f"the network's last linear layer runs {len(taken)} times an image",
                expected="once, on the features of the whole image",
            )
        return taken[0].flatten(1)


def features_of(network: nn.Module, images: Tensor) -> Tensor:
    """What the last linear layer of a network takes of images: (N, D)."""
    return Encoder(network)(images)


def without_head(network: nn.Module) -> nn.Module:
    """The network with its last linear layer taken out, in place. Raises InputError where it has none."""
    last = last_linear(network)
    parent, _, name = last.rpartition(".")
    setattr(network.get_submodule(parent), name, nn.Identity())
    return network


def last_linear(network: nn.Module) -> str:
    """The name of a network's last linear layer, its classifier. Raises InputError where it has none."""
    names: list[str] = [name for name, module in network.named_modules() if name and _is_linear(module)]
    if not names:
        raise InputError(
            "the network has no linear layer to take its features before", where="model.features"
        )
    return names[-1]


def _is_linear(module: nn.Module) -> bool:
    return hasattr(module, "in_features") and hasattr(module, "out_features")
