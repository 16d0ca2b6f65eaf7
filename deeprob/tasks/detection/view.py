"""Frames with boxes: what of a frame is seen, its samples, and their batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.augment import normalise, pixel_maps, render
from deeprob.data.batches.images import UNMIXABLE, Colour, Generator, ImageCollate, WholeView
from deeprob.data.batches.samples import ImageSamples, Ragged, Rows, Samples
from deeprob.data.batches.warp import Matrix, fit_matrix, warp_frame
from deeprob.data.frame import Frame, Instance
from deeprob.data.settings import Augmentation, DetectionAugmentation
from deeprob.tasks.detection.augment import (
    arrange,
    blank_outside,
    check_crop,
    lay_out,
    mix_up,
    move_labels,
    pictures_of,
)

RAGGED = ("boxes", "labels", "crowds", "crowd_labels", "areas", "crowd_areas")


@dataclass(frozen=True, eq=False)
class DetectionSamples(ImageSamples):
    """N frames.

    boxes: float32 (n, 4), pixels of images. labels: int64 (n,). crowds: float32 (k, 4), regions of objects
    nobody counted, and crowd_labels: int64 (k,). areas: float32 (n,), crowd_areas: float32 (k,), as the
    annotation says them, in the frame's own pixels. matrices: float64 (N, 3, 3), from the frame's own pixels
    to those of images. sizes: int64 (N, 2), the frame's height and width.
    """

    boxes: Ragged
    labels: Ragged
    crowds: Ragged
    crowd_labels: Ragged
    areas: Ragged
    crowd_areas: Ragged
    matrices: Tensor
    sizes: Tensor

    @property
    def class_ids(self) -> Ragged:
        """The class of each object."""
        return self.labels


class DetectionBatch(NamedTuple):
    """Images with boxes.

    boxes: for each image float32 (n, 4), left, top, right, bottom in pixels. labels: for each int64 (n,).
    crowds: for each float32 (k, 4). matrices: float64 (B, 3, 3), from the frame's own pixels to the image's;
    of a mosaic, for its first tile, which shows the frame that `indices` names.
    """

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    crowds: list[Tensor]
    matrices: Tensor
    indices: Tensor


class Detection(NamedTuple):
    """A frame for a detector.

    image: uint8 (H, W, 3). boxes: float32 (n, 4), left, top, right, bottom, pixels of this image.
    labels: int64 (n,). crowds: float32 (k, 4), and crowd_labels: int64 (k,). areas: float32 (n,), and
    crowd_areas: float32 (k,), square pixels of the frame. matrix: float64 (3, 3), from the frame's pixels to
    this image's.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    crowds: NDArray[np.float32]
    crowd_labels: NDArray[np.int64]
    areas: NDArray[np.float32]
    crowd_areas: NDArray[np.float32]
    matrix: Matrix


@dataclass(frozen=True)
class DetectionCollate(ImageCollate):
    """Images with boxes. What the augmentation leaves of an object too little to be one joins the crowds."""

    augmentation: DetectionAugmentation | None = None

    refused: ClassVar[Mapping[str, str]] = {
        "cutmix": UNMIXABLE["cutmix"],
        "copy_paste": "boxes have no masks to cut objects out by (data/view=instances has)",
    }

    def __call__(self, split: DetectionSamples, indices: Tensor, generator: Generator) -> DetectionBatch:
        a, matrices = self.augmentation, split.matrices[indices]
        if a is None:
            pixels = normalise(split.images.index_select(0, indices), self.mean, self.std)
            rows = (split.boxes.take(indices), split.labels.take(indices), split.crowds.take(indices))
            boxes, labels, crowds = ([r[i] for i in range(len(indices))] for r in rows)
            return DetectionBatch(pixels, boxes, labels, crowds, matrices, indices)
        size = int(split.images.shape[1]), int(split.images.shape[2])
        layout, shown = lay_out(indices, len(split), a, size, generator)
        rows = (split.boxes.take(shown), split.labels.take(shown), split.crowds.take(shown))
        pictures = pictures_of(split.matrices[shown], split.sizes[shown])
        draws, affine = arrange(rows[0], pictures, layout, a, size, generator)
        frames = split.images.index_select(0, shown)
        pixels = render(frames, affine, layout, draws, a, generator, self.mean, self.std)
        blank_outside(pixels, affine, layout, size)
        maps = pixel_maps(affine, layout, *size)
        seen = move_labels(*rows, maps, layout, a.min_visible)
        if a.mixup:
            seen = mix_up(pixels, seen, a, generator)
        return DetectionBatch(pixels, *seen, maps[: len(indices)].double() @ matrices, indices)


@dataclass(frozen=True)
class DetectionView(WholeView):
    """The frame scaled to fit width x height, its shape kept, the rest black; and the boxes in it."""

    augmentation: ClassVar[type] = DetectionAugmentation
    samples: ClassVar[type[Samples]] = DetectionSamples
    task: ClassVar[str] = "deeprob.tasks.detection.task.Detection"

    def __call__(self, frame: Frame) -> Detection:
        return _seen(*self.fitted(frame))

    def fitted(self, frame: Frame) -> tuple[Frame, Matrix]:
        """The frame at the view's size, and the map (3, 3) from its own pixels."""
        matrix = fit_matrix(frame.image.shape[1], frame.image.shape[0], self.width, self.height)
        return warp_frame(frame, matrix, self.width, self.height), matrix

    def rows(self, frame: Frame, split: str) -> Rows:
        """See the frame as one sample."""
        return self.rows_of(frame, *self.fitted(frame))

    def rows_of(self, frame: Frame, fitted: Frame, matrix: Matrix) -> Rows:
        """The sample of a frame that was `fitted` already."""
        seen = _seen(fitted, matrix)
        size = np.array([frame.image.shape[:2]], np.int64)
        columns: dict[str, NDArray[Any]] = {
            "images": seen.image[None],
            "matrices": seen.matrix[None],
            "sizes": size,
        }
        ragged = {name: [getattr(seen, name)] for name in RAGGED}
        return Rows([frame.key], columns, ragged)

    def collate(
        self, mean: Colour, std: Colour, augmentation: Augmentation | None = None, num_classes: int = 0
    ) -> DetectionCollate:
        """Make batches of frames with their boxes. Raises InputError for a crop larger than the frame."""
        if augmentation is None:
            return DetectionCollate(mean, std, None, num_classes)
        settings = DetectionAugmentation(**vars(augmentation))
        check_crop(settings.crop, self)
        return DetectionCollate(mean, std, settings, num_classes)


def _seen(fitted: Frame, matrix: Matrix) -> Detection:
    """What a detector is to see of a frame that was fitted by a map."""
    scale = float(np.linalg.det(matrix[:2, :2]))
    boxes, labels, areas = _rows(fitted.instances, scale)
    crowds, crowd_labels, crowd_areas = _rows(fitted.crowds, scale)
    return Detection(fitted.image, boxes, labels, crowds, crowd_labels, areas, crowd_areas, matrix)


def _rows(
    instances: Sequence[Instance], scale: float
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Boxes (n, 4), classes (n,), and areas (n,) in pixels that are `scale` pixels each here."""
    boxes = np.array([i.box_xyxy for i in instances], np.float32).reshape(-1, 4)
    areas = np.array([i.size_in_pixels / scale for i in instances], np.float32)
    return boxes, np.array([i.class_id for i in instances], np.int64), areas
