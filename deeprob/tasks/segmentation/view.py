"""Frames with a class for every pixel: what is seen, its samples, and their batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.images import UNMIXABLE, Colour, Generator, ImageCollate, WholeView
from deeprob.data.batches.samples import ImageSamples, Rows, Samples
from deeprob.data.batches.warp import fit_matrix, warp_frame
from deeprob.data.frame import Frame
from deeprob.data.settings import Augmentation
from deeprob.errors import InputError
from deeprob.tasks.segmentation.labels import IGNORED, MOST_CLASSES, draw_labels


@dataclass(frozen=True, eq=False)
class SegmentationSamples(ImageSamples):
    """N frames.

    labels: uint8 (N, H, W), 0 is background, class i is i + 1, IGNORED has no label. matrices: float64
    (N, 3, 3), from the frame's own pixels to those of images. sizes: int64 (N, 2), its height and width.
    """

    labels: Tensor
    matrices: Tensor
    sizes: Tensor


class SegmentationBatch(NamedTuple):
    """Images with a class for each pixel.

    labels: int64 (B, H, W), 0 is background, class i is i + 1, IGNORED has no label. matrices: float64
    (B, 3, 3), from the frame's own pixels to the image's. sizes: int64 (B, 2), the frame's height and width.
    """

    images: Tensor
    labels: Tensor
    matrices: Tensor
    sizes: Tensor
    indices: Tensor


class SegmentationCollate(ImageCollate):
    """Images with a class for each pixel."""

    refused: ClassVar[Mapping[str, str]] = UNMIXABLE

    def __call__(
        self, split: SegmentationSamples, indices: Tensor, generator: Generator
    ) -> SegmentationBatch:
        pixels, maps = self.pixels(split.images.index_select(0, indices), generator)
        labels = split.labels.index_select(0, indices)
        if self.augmentation is not None:
            labels = torch.stack([move_mask(m, move) for m, move in zip(labels, maps, strict=True)])
        matrices = maps.double() @ split.matrices[indices]
        return SegmentationBatch(pixels, labels.long(), matrices, split.sizes[indices], indices)


@dataclass(frozen=True)
class SegmentationView(WholeView):
    """The frame as DetectionView has it, and the class of each pixel: 0 is background, class i is i + 1.

    A crowd's pixels, and the black beside the frame, are IGNORED.
    """

    samples: ClassVar[type[Samples]] = SegmentationSamples
    task: ClassVar[str] = "deeprob.tasks.segmentation.task.Segmentation"

    def classes(self, source: Any) -> tuple[str, ...]:
        """What a model tells apart: the background and the objects. Raises InputError for too many."""
        if len(source.classes) > MOST_CLASSES:
            expected = f"{MOST_CLASSES} at most"
            raise InputError(f"{len(source.classes)} classes", where=source.name, expected=expected)
        return ("background", *source.classes)

    def rows(self, frame: Frame, split: str) -> Rows:
        """See the frame as one sample."""
        image, labels = self(frame)
        height, width = frame.image.shape[:2]
        columns: dict[str, NDArray[Any]] = {
            "images": image[None],
            "labels": labels[None].astype(np.uint8),
            "matrices": fit_matrix(width, height, self.width, self.height)[None],
            "sizes": np.array([[height, width]], np.int64),
        }
        return Rows([frame.key], columns)

    def collate(
        self, mean: Colour, std: Colour, augmentation: Augmentation | None = None, num_classes: int = 0
    ) -> SegmentationCollate:
        """Make batches of frames with a class for each pixel."""
        return SegmentationCollate(mean, std, augmentation, num_classes)

    def __call__(self, frame: Frame) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Make the image uint8 (H, W, 3) and the labels int64 (H, W). Raises InputError without masks."""
        matrix = fit_matrix(frame.image.shape[1], frame.image.shape[0], self.width, self.height)
        fitted = warp_frame(frame, matrix, self.width, self.height, min_visible=0.0)
        labels = draw_labels((self.height, self.width), fitted.instances, fitted.crowds, frame.key)
        inside: Any = cv2.warpAffine(
            np.ones(frame.image.shape[:2], np.uint8),
            matrix[:2],
            (self.width, self.height),
            flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_CONSTANT,
        )
        return fitted.image, np.where(inside, labels, IGNORED)


def move_mask(labels: Tensor, move: Tensor) -> Tensor:
    """Map labels uint8 (H, W), each pixel that of the nearest; what comes from outside repeats the border."""
    height, width = labels.shape
    moved: Any = cv2.warpAffine(
        labels.numpy(),
        move[:2].double().numpy(),
        (width, height),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return torch.from_numpy(moved)
