"""What segmenters have in common: how logits are read off images that are larger than those of training.

flips     logits are the mean of those of the image and of its mirror image, mirrored back
window    an image is seen through windows of one size that overlap; where several see a pixel, the mean
          of their probabilities counts
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate as torch_interpolate

from deeprob import layers
from deeprob.errors import InputError


class Segmenter(nn.Module):
    """A network: images (N, in_channels, H, W) -> logits (N, num_classes, H, W).

    In training, one with an auxiliary head gives a pair: its logits are the second.
    flips: whether `segment` asks about the mirror image too. window: height and width in pixels of what
    `segment` shows the network at a time; empty: the whole image. overlap: of neighbouring windows, a share.
    Raises InputError where an argument is wrong.
    """

    def __init__(self, flips: bool, window: Sequence[int], overlap: float, backend: str) -> None:
        super().__init__()
        if window and (len(window) != 2 or min(window) < 1):
            raise InputError(f"window={list(window)}", where="model", expected="[height, width], or []")
        if not 0 <= overlap < 1:
            raise InputError(f"overlap={overlap:g}", where="model", expected="0 to under 1")
        self.flips, self.window, self.overlap = flips, tuple(window), overlap
        self.interpolate = torch_interpolate if backend == "torch" else layers.interpolate
        self.concat = torch.cat if backend == "torch" else layers.concat

    @property
    def is_asked_often(self) -> bool:
        """Whether `segment` is more than one pass of the network."""
        return self.flips or bool(self.window)

    @torch.no_grad()
    def segment(self, images: Tensor) -> Tensor:
        """Scores (N, num_classes, H, W), the larger the likelier, by windows and flips."""
        if not self.window:
            return self._scores(images)
        (height, width), total = images.shape[2:], None
        seen = images.new_zeros(1, 1, height, width)
        high, wide = min(self.window[0], height), min(self.window[1], width)
        for top in starts(height, high, self.overlap):
            for left in starts(width, wide, self.overlap):
                at = (..., slice(top, top + high), slice(left, left + wide))
                scores = self._scores(images[at]).softmax(1)
                if total is None:
                    total = scores.new_zeros(*scores.shape[:2], height, width)
                total[at] += scores
                seen[at] += 1
        assert total is not None
        return total / seen

    def _scores(self, images: Tensor) -> Tensor:
        given = self(images)
        logits: Tensor = given[0] if isinstance(given, tuple) else given
        if self.flips:
            mirrored = self(images.flip(3))
            logits = (logits + (mirrored[0] if isinstance(mirrored, tuple) else mirrored).flip(3)) / 2
        return logits

    def resized(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        """Maps at another height and width, bilinear."""
        if tuple(maps.shape[2:]) == tuple(size):
            return maps
        return self.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)

    def at_image(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Logits at the images' height and width, a class's plane after another.

        Whatever the network's layout: a softmax over a few classes is slow where they lie side by side.
        """
        return self.resized(logits.contiguous(), size)


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin on an axis: evenly, the first at its start and the last at its end."""
    step = max(1, round(window * (1 - overlap)))
    count = 1 + -(-(length - window) // step)
    return [round(i * (length - window) / max(count - 1, 1)) for i in range(count)]
