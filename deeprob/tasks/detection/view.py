"""Frames with boxes: what of a frame is seen, its samples, and their batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.images import UNMIXABLE, Colour, Generator, ImageCollate, WholeView
from deeprob.data.batches.samples import ImageSamples, Ragged, Rows, Samples
from deeprob.data.batches.warp import Matrix, fit_matrix, warp_frame
from deeprob.data.frame import Frame, Instance
from deeprob.data.settings import Augmentation


@dataclass(frozen=True, eq=False)
class DetectionSamples(ImageSamples):
    """N frames.

    boxes: float32 (n, 4), pixels of images. labels: int64 (n,). crowds: float32
    (k, 4), regions of objects nobody counted, and crowd_labels: int64 (k,). matrices: float64 (N, 3, 3), from
    the frame's own pixels to those of images. sizes: int64 (N, 2), the frame's height and width.
    """

    boxes: Ragged
    labels: Ragged
    crowds: Ragged
    crowd_labels: Ragged
    matrices: Tensor
    sizes: Tensor


class DetectionBatch(NamedTuple):
    """Images with boxes.

    boxes: for each image float32 (n, 4), left, top, right, bottom in pixels. labels: for each int64 (n,).
    crowds: for each float32 (k, 4). matrices: float64 (B, 3, 3), from the frame's own pixels to the image's.
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
    labels: int64 (n,). crowds: float32 (k, 4), and crowd_labels: int64 (k,). matrix: float64 (3, 3), from the
    frame's pixels to this image's.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    crowds: NDArray[np.float32]
    crowd_labels: NDArray[np.int64]
    matrix: Matrix


@dataclass(frozen=True)
class DetectionCollate(ImageCollate):
    """Images with boxes; an object of which less than `min_visible` of its box stays inside is left out."""

    min_visible: float = 0.25

    refused: ClassVar[Mapping[str, str]] = UNMIXABLE

    def __call__(self, split: DetectionSamples, indices: Tensor, generator: Generator) -> DetectionBatch:
        pixels, maps = self.pixels(split.images.index_select(0, indices), generator)
        size = (int(pixels.shape[2]), int(pixels.shape[3]))
        boxes, labels = self._moved(split.boxes, split.labels, indices, maps, size, self.min_visible)
        crowds, _ = self._moved(split.crowds, split.crowd_labels, indices, maps, size, 0.0)
        matrices = maps.double() @ split.matrices[indices]
        return DetectionBatch(pixels, boxes, labels, crowds, matrices, indices)

    def _moved(
        self,
        all_boxes: Ragged,
        all_labels: Ragged,
        indices: Tensor,
        maps: Tensor,
        size: tuple[int, int],
        min_visible: float,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The boxes of each image where the augmentation moved them, and their labels."""
        boxes, labels = all_boxes.take(indices), all_labels.take(indices)
        owner = torch.arange(len(indices)).repeat_interleave(boxes.counts)
        moved = boxes.values
        kept = torch.ones(len(moved), dtype=torch.bool)
        if self.augmentation is not None:
            moved, kept = move_boxes(moved, maps[owner], *size, min_visible)
        counts = torch.bincount(owner[kept], minlength=len(indices)).tolist()
        of_images = [list(torch.split(rows[kept], counts)) for rows in (moved, labels.values)]
        return of_images[0], of_images[1]


@dataclass(frozen=True)
class DetectionView(WholeView):
    """The frame scaled to fit width x height, its shape kept, the rest black; and the boxes in it."""

    samples: ClassVar[type[Samples]] = DetectionSamples
    task: ClassVar[str] = "deeprob.tasks.detection.task.Detection"

    def __call__(self, frame: Frame) -> Detection:
        matrix = fit_matrix(frame.image.shape[1], frame.image.shape[0], self.width, self.height)
        fitted = warp_frame(frame, matrix, self.width, self.height)
        boxes, labels = _rows(fitted.instances)
        crowds, crowd_labels = _rows(fitted.crowds)
        return Detection(fitted.image, boxes, labels, crowds, crowd_labels, matrix)

    def rows(self, frame: Frame, split: str) -> Rows:
        """See the frame as one sample."""
        seen = self(frame)
        size = np.array([frame.image.shape[:2]], np.int64)
        columns: dict[str, NDArray[Any]] = {
            "images": seen.image[None],
            "matrices": seen.matrix[None],
            "sizes": size,
        }
        ragged = {name: [getattr(seen, name)] for name in ("boxes", "labels", "crowds", "crowd_labels")}
        return Rows([frame.key], columns, ragged)

    def collate(
        self, mean: Colour, std: Colour, augmentation: Augmentation | None = None, num_classes: int = 0
    ) -> DetectionCollate:
        """Make batches of frames with their boxes."""
        return DetectionCollate(mean, std, augmentation, num_classes)


def _rows(instances: Sequence[Instance]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes float32 (n, 4) and classes int64 (n,)."""
    boxes = np.array([i.box_xyxy for i in instances], np.float32).reshape(-1, 4)
    return boxes, np.array([i.class_id for i in instances], np.int64)


def move_boxes(
    boxes: Tensor, maps: Tensor, height: int, width: int, min_visible: float
) -> tuple[Tensor, Tensor]:
    """Find the boxes around boxes (n, 4) under maps (n, 3, 3), inside the image; which stay, bool (n,)."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].view(-1, 4, 2)
    moved = corners @ maps[:, :2, :2].mT + maps[:, None, :2, 2]
    low, high = moved.amin(1), moved.amax(1)
    limit = torch.tensor([width, height]) - 0.5
    inside_low, inside_high = low.clamp(min=-0.5).minimum(limit), high.clamp(min=-0.5).minimum(limit)
    whole, inside = (high - low).prod(1), (inside_high - inside_low).prod(1)
    return torch.cat([inside_low, inside_high], 1), (inside > 0) & (inside >= min_visible * whole)
