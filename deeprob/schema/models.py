"""What a model config may hold."""

from __future__ import annotations

from dataclasses import dataclass, field


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


@dataclass
class ResNetSettings(NetworkSettings):
    """See deeprob.models.resnet.ResNet."""

    _target_: str = "deeprob.models.resnet.ResNet"
    blocks: list[int] = field(default_factory=lambda: [2, 2, 2, 2])
    width: int = 64
    stem: str = "imagenet"
    norm: bool = True
    dropout: float = 0.0
    input_norm: bool = False
    in_channels: int = 3
    backend: str = "deeprob"
