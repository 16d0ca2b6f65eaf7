"""What a model config may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import SI


@dataclass
class NetworkSettings:
    """What every network takes beside its constructor's arguments; the training makes it so.

    pretrained: file of a state dict, a checkpoint or a run folder, whose weights of the same name and shape
        are where training starts.
    freeze: patterns of parameter names, such as conv1.* or layer1.*, that stay as they are.
    compile: run through torch.compile; the names in a checkpoint stay the same.
    """

    pretrained: str | None = None
    freeze: list[str] = field(default_factory=list)
    compile: bool = False


NETWORK_OPTIONS = frozenset(NetworkSettings.__dataclass_fields__)
"""Keys of a model config that are not the constructor's."""

IN_CHANNELS: int = SI("${oc.select:data.view.channels,${oc.select:input.0,3}}")
"""As many as the view gives, or as the shape has that `info` and `graph` are asked about."""


def constructed(model: Mapping[str, Any]) -> dict[str, Any]:
    """What of a network's config its class is made of: all but what every network has beside it."""
    return {key: value for key, value in model.items() if key not in NETWORK_OPTIONS}


@dataclass
class ResNetSettings(NetworkSettings):
    """See deeprob.models.resnet.ResNet."""

    _target_: str = "deeprob.models.resnet.ResNet"
    blocks: list[int] = field(default_factory=lambda: [2, 2, 2, 2])
    block: str = "basic"
    width: int = 64
    stem: str = "imagenet"
    norm: bool = True
    zero_init: bool = True
    dropout: float = 0.0
    input_norm: bool = False
    fused: bool = False
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class MLPSettings(NetworkSettings):
    """See deeprob.models.mlp.MLP."""

    _target_: str = "deeprob.models.mlp.MLP"
    widths: list[int] = field(default_factory=lambda: [512, 256])
    norm: str = "batch"
    dropout: float = 0.0
    input_norm: bool = False
    image_size: int = 32
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class AlexNetSettings(NetworkSettings):
    """See deeprob.models.alexnet.AlexNet."""

    _target_: str = "deeprob.models.alexnet.AlexNet"
    variant: str = "imagenet"
    width: int = 64
    hidden: int = 4096
    dropout: float = 0.5
    input_norm: bool = False
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class CNNSettings(NetworkSettings):
    """See deeprob.models.cnn.CNN."""

    _target_: str = "deeprob.models.cnn.CNN"
    widths: list[int] = field(default_factory=lambda: [32, 64, 128])
    convs: int = 2
    norm: bool = True
    dropout: float = 0.0
    input_norm: bool = False
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class ViTSettings(NetworkSettings):
    """See deeprob.models.vit.ViT."""

    _target_: str = "deeprob.models.vit.ViT"
    patch: int = 4
    dim: int = 128
    depth: int = 4
    heads: int = 4
    mlp_ratio: float = 4.0
    pool: str = "token"
    positions: str = "learned"
    dropout: float = 0.0
    drop_path: float = 0.0
    input_norm: bool = False
    fused: bool = False
    image_size: int = 32
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class PointNetSettings(NetworkSettings):
    """See deeprob.models.pointnet.PointNet."""

    _target_: str = "deeprob.models.pointnet.PointNet"
    task: str = "classification"
    width: int = 64
    features: int = 1024
    input_transform: bool = True
    feature_transform: bool = True
    orthogonality: float = 0.001
    norm: str = "batch"
    dropout: float = 0.3
    backend: str = "deeprob"
