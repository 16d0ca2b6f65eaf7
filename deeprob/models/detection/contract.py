"""What a detector takes and gives, whatever its kind.

Boxes are (x1, y1, x2, y2) in pixels of the batch's images. A whole number is the centre of a pixel: pixel i
covers [i - 1/2, i + 1/2], and an image of width W runs from -1/2 to W - 1/2.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from torch import Tensor


class Targets(NamedTuple):
    """What is on a batch of B images: a list entry an image.

    boxes: float32 (n, 4). labels: int64 (n,), from 0. crowds: float32 (k, 4), regions that hold objects
    nobody counted: what is found there is neither right nor wrong.
    """

    boxes: list[Tensor]
    labels: list[Tensor]
    crowds: list[Tensor]


class Detections(NamedTuple):
    """What was found on one image, best first. boxes: float32 (n, 4). scores (n,). labels: int64 (n,)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Detector(Protocol):
    """A network that finds boxes. `forward` is the one expensive call; the others read what it gave."""

    def forward(self, images: Tensor) -> Any:
        """Run the network on images float32 (B, 3, H, W); a NamedTuple of tensors."""

    def losses(self, outputs: Any, targets: Targets) -> dict[str, Tensor]:
        """Return the named terms, each a scalar, whose sum is descended on."""

    def detect(self, outputs: Any) -> list[Detections]:
        """Decode an image's boxes: best first, without duplicates, at most `max_detections`."""
