"""What tasks on images share: a view's settings, normalisation and augmentation of batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.augment import augment_with_maps, normalise
from deeprob.data.settings import Augmentation
from deeprob.errors import InputError

Colour = tuple[float, ...]
Generator = torch.Generator
UNMIXABLE = dict.fromkeys(("mixup", "cutmix"), "only images of one class can be mixed")


class ImageView:
    """What views of images have in common: their augmentation, and the channels' mean and deviation."""

    augmentation: ClassVar[type] = Augmentation
    sees_clouds: ClassVar[bool] = False
    boxes: ClassVar[str] = ""

    def statistics(self, samples: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel of a split's images, from 0 to 1."""
        return channel_statistics(samples.images)

    def classes(self, source: Any) -> tuple[str, ...]:
        """What a model tells apart: the objects."""
        return tuple(source.classes)

    def described(self) -> dict[str, Any]:
        """How an image is made for the network, for those who do it without deeprob. Raises InputError."""
        raise InputError(
            f"{type(self).__name__} does not say how its images are made", expected="`described`"
        )

    def check(self, **valid: tuple[bool, str]) -> None:
        """Raise InputError naming the first setting that is not valid, and what was expected."""
        for field, (fits, expected) in valid.items():
            if not fits:
                raise InputError(f"view.{field} is {getattr(self, field)}", expected=expected)


@dataclass(frozen=True)
class ImageCollate:
    """How images become batches.

    mean, std: of each channel, on images from 0 to 1. augmentation: None for images as they are.
    num_classes: needed where labels are mixed.
    """

    mean: Colour
    std: Colour
    augmentation: Augmentation | None = None
    num_classes: int = 0

    def pixels(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Turn uint8 (B, H, W, 3) into (B, 3, H, W) float, and the maps (B, 3, 3) from old to new pixels."""
        if self.augmentation is None:
            return normalise(images, self.mean, self.std), torch.eye(3).expand(len(images), 3, 3)
        return augment_with_maps(images, self.augmentation, generator, self.mean, self.std)

    refused: ClassVar[Mapping[str, str]] = {}
    """Augmentations that the task's labels cannot follow, and why."""

    def __post_init__(self) -> None:
        for name, reason in self.refused.items():
            value = getattr(self.augmentation, name, 0)
            if value:
                raise InputError(
                    f"augmentation.{name} is {value}, but {reason}", fix=f"set data.augmentation.{name}=0"
                )


def resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize uint8 (H, W, 3) to (height, width, 3): the mean of the area where it shrinks, else bilinear."""
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def channel_statistics(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 (N, H, W, 3), on a scale from 0 to 1.

    A constant channel gets the deviation 1, so that dividing by it is safe.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in range(3):
        counts = torch.zeros(256, dtype=torch.float64)  # counted, not summed: exact for any number of pixels
        for start in range(0, len(images), 4096):
            counts += torch.bincount(images[start : start + 4096, ..., channel].flatten(), minlength=256)
        share = counts / counts.sum()
        mean = float(share @ levels)
        means.append(mean)
        deviations.append(float((share @ (levels - mean) ** 2).sqrt()) or 1.0)
    return tuple(means), tuple(deviations)


@dataclass(frozen=True)
class WholeView(ImageView):
    """The frame scaled to fit width x height, its shape kept, the rest black."""

    width: int
    height: int

    lacking: ClassVar[str] = "frames"

    def described(self) -> dict[str, Any]:
        return {
            "height": self.height,
            "width": self.width,
            "resize": "fit",
            "how": "scale by s = min(width / w, height / h), centred, black around: pixel = s p + t with "
            "t = (size - 1) / 2 - s (old size - 1) / 2; where s < 1, blur before with a Gaussian of sigma "
            "sqrt(1 / s^2 - 1) / 2 pixels; bilinear",
        }

    def __post_init__(self) -> None:
        self.check(width=(self.width >= 1, "at least 1"), height=(self.height >= 1, "at least 1"))
