"""What a model config may hold."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ResNetSettings:
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
