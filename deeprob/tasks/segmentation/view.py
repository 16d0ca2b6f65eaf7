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

from deeprob.data.batches.augment import Layout, pixel_maps, render
from deeprob.data.batches.images import UNMIXABLE, Colour, Generator, ImageCollate, WholeView
from deeprob.data.batches.samples import ImageSamples, Ragged, Rows, Samples
from deeprob.data.batches.warp import fit_matrix, warp_frame
from deeprob.data.frame import Frame
from deeprob.data.settings import Augmentation, DetectionAugmentation, WindowAugmentation
from deeprob.errors import InputError
from deeprob.tasks.detection.augment import arrange, check_crop, pictures_of
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


@dataclass(frozen=True)
class SegmentationCollate(ImageCollate):
    """Images with a class for each pixel, or random windows of them."""

    augmentation: WindowAugmentation | None = None

    refused: ClassVar[Mapping[str, str]] = UNMIXABLE

    def __call__(
        self, split: SegmentationSamples, indices: Tensor, generator: Generator
    ) -> SegmentationBatch:
        images, labels = (plane.index_select(0, indices) for plane in (split.images, split.labels))
        if self.augmentation is None:
            pixels, maps = self.pixels(images, generator)
        else:
            places = split.matrices[indices], split.sizes[indices]
            pixels, maps = self._windows(images, *places, self.augmentation, generator)
            height, width = pixels.shape[2:]
            moved = [move_mask(m, move, height, width) for m, move in zip(labels, maps, strict=True)]
            labels = torch.stack(moved)
        matrices = maps.double() @ split.matrices[indices]
        return SegmentationBatch(pixels, labels.long(), matrices, split.sizes[indices], indices)

    def _windows(
        self, images: Tensor, matrices: Tensor, sizes: Tensor, a: WindowAugmentation, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """What the augmentation shows of frames (B, H, W, 3), and the maps (B, 3, 3) to its pixels."""
        count, size = len(images), (int(images.shape[1]), int(images.shape[2]))
        layout = Layout.whole(count, *(a.crop or size))
        whole = DetectionAugmentation(**vars(a), whole_object=0.0)
        no_boxes = Ragged(torch.zeros(0, 4), torch.zeros(count + 1, dtype=torch.int64))
        draws, affine = arrange(no_boxes, pictures_of(matrices, sizes), layout, whole, size, generator)
        pixels = render(images, affine, layout, draws, a, generator, self.mean, self.std)
        return pixels, pixel_maps(affine, layout, *size)


@dataclass(frozen=True)
class SegmentationView(WholeView):
    """The frame as DetectionView has it, and the class of each pixel: 0 is background, class i is i + 1.

    A crowd's pixels, and the black beside the frame, are IGNORED.
    """

    samples: ClassVar[type[Samples]] = SegmentationSamples
    augmentation: ClassVar[type] = WindowAugmentation
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
        """Make batches of frames with a class for each pixel. Raises InputError for too large a crop."""
        if augmentation is None:
            return SegmentationCollate(mean, std, None, num_classes)
        settings = WindowAugmentation(**vars(augmentation))
        check_crop(settings.crop, self)
        return SegmentationCollate(mean, std, settings, num_classes)

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


def move_mask(labels: Tensor, move: Tensor, height: int, width: int) -> Tensor:
    """Map labels uint8 (H, W) to a height and width, each pixel that of the nearest.

    What comes from outside repeats the border.
    """
    moved: Any = cv2.warpAffine(
        labels.numpy(),
        move[:2].double().numpy(),
        (width, height),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return torch.from_numpy(moved)
