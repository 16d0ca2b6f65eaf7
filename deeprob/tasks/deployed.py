"""A task's network as one graph, from normalised inputs to decoded outputs, for use without deeprob."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Beside:
    """A further input of a graph. meaning: type, shape, unit. example: of one sample, (1, ...)."""

    meaning: str
    example: Tensor


@dataclass(frozen=True)
class Deployed:
    """What `deeprob export` writes.

    network: normalised inputs, and those `beside` them by name, -> a tensor, or a tuple of them; tensor
    operations only. outputs: their names, in order, each with its type, shape and meaning. decode: what is
    left to the user, with its settings. ranked: whether the outputs are a list of the best ones.
    """

    network: nn.Module
    outputs: Mapping[str, str]
    decode: Mapping[str, Any] = field(default_factory=dict)
    ranked: bool = False
    beside: Mapping[str, Beside] = field(default_factory=dict)


class Softmax(nn.Module):
    """Probabilities of a network's logits (N, C, ...)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs).float().softmax(1)  # type: ignore[no-any-return]


class Argmax(nn.Module):
    """The best class of a network's logits (N, C, ...), of as few bits as will do: uint8 (N, ...)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.network(inputs)
        logits = found[0] if isinstance(found, tuple) else found  # beside those of an auxiliary head
        return logits.argmax(1).byte()  # type: ignore[no-any-return]


class Candidates(nn.Module):
    """The best boxes of a detector (`fixed_candidates(images)`), before those that overlap are dropped."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.detector.fixed_candidates(images)
        return found.boxes, found.scores, found.labels
