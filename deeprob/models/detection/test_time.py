"""A detector that looks several times: at other scales, and in the mirror.

What is found goes back to the image's own pixels, and the detector's own suppression merges it. Each look
costs a forward pass; a scale above 1 helps with small objects.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from deeprob.errors import InputError
from deeprob.models.detection.contract import Detections
from deeprob.models.detection.decode import suppress


class Looks(NamedTuple):
    """How often a detector looks. scales: of the images. flip: at each scale, at the mirror image too."""

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def checked(self) -> Looks:
        """Itself. Raises InputError where there is no scale, or none to look at."""
        if not self.scales or min(self.scales) <= 0:
            raise InputError(f"test_scales={list(self.scales)}", where="model", expected="scales above 0")
        return self

    @property
    def each(self) -> list[tuple[float, bool]]:
        """Scale, and whether mirrored."""
        return [(scale, mirrored) for scale in self.scales for mirrored in (False, True)[: 1 + self.flip]]


def detect(model: Any, images: Tensor) -> list[Detections]:
    """What a detector finds on each of images (B, 3, H, W), best first."""
    looks = getattr(model, "looks", Looks()).each
    if looks == [(1.0, False)]:
        found: list[Detections] = model.detect(model(images))
        return found
    of_looks = [_look(model, images, scale, mirrored) for scale, mirrored in looks]
    return [suppress(_together(of_image), model.decoding) for of_image in zip(*of_looks, strict=True)]


def _look(model: Any, images: Tensor, scale: float, mirrored: bool) -> list[Detections]:
    """What is found on the images at a scale, in the images' own pixels."""
    height, width = images.shape[2:]
    size = max(1, round(scale * height)), max(1, round(scale * width))
    seen = images
    if size != (height, width):
        seen = torch.nn.functional.interpolate(images, size=size, mode="bilinear", antialias=scale < 1)
    seen = seen.flip(3) if mirrored else seen
    ratio = torch.tensor([width / size[1], height / size[0]] * 2, device=images.device)
    back = []
    for found in model.detect(model(seen)):
        boxes = (found.boxes + 0.5) * ratio - 0.5
        if mirrored:
            boxes = torch.stack(
                [width - 1 - boxes[:, 2], boxes[:, 1], width - 1 - boxes[:, 0], boxes[:, 3]], 1
            )
        back.append(found._replace(boxes=boxes))
    return back


def _together(looks: tuple[Detections, ...]) -> Detections:
    """What several looks found, best first."""
    boxes, scores, labels = (torch.cat(parts) for parts in zip(*looks, strict=True))
    order = scores.argsort(descending=True, stable=True)
    return Detections(boxes[order], scores[order], labels[order])
