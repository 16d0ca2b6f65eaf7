"""Views of whole frames: detection, segmentation and poses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.cuts import DetectionCut, PoseCut, SegmentationCut
from deeprob.data.frame import Frame
from deeprob.data.samples import Ragged, Rows, Samples
from deeprob.data.settings import Augmentation
from deeprob.data.views import ImageView
from deeprob.data.warp import Matrix, fit_matrix, warp_frame
from deeprob.errors import InputError

Colour = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class DetectionSplit(Samples):
    """N frames. images: uint8 (N, H, W, 3). boxes: float32 (n, 4), pixels of images. labels: int64 (n,)."""

    images: Tensor
    boxes: Ragged
    labels: Ragged
    units: Tensor
    groups: Tensor
    group_names: tuple[str, ...]
    keys: tuple[str, ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SegmentationSplit(Samples):
    """N frames. images: uint8 (N, H, W, 3). labels: uint8 (N, H, W), 0 is background, class i is i + 1."""

    images: Tensor
    labels: Tensor
    units: Tensor
    groups: Tensor
    group_names: tuple[str, ...]
    keys: tuple[str, ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PoseSplit(Samples):
    """N crops of one object each.

    images: uint8 (N, S, S, 3). labels: int64 (N,). K: float64 (N, 3, 3). T_cam_obj: float64 (N, 4, 4).
    """

    images: Tensor
    labels: Tensor
    K: Tensor
    T_cam_obj: Tensor
    units: Tensor
    groups: Tensor
    group_names: tuple[str, ...]
    keys: tuple[str, ...]
    skipped: tuple[str, ...] = ()


class Detection(NamedTuple):
    """A frame for a detector.

    image: uint8 (H, W, 3). boxes: float32 (n, 4), left, top, right, bottom, pixels of this image.
    labels: int64 (n,). matrix: float64 (3, 3), from the frame's pixels to this image's.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    matrix: Matrix


@dataclass(frozen=True)
class WholeView(ImageView):
    """The frame scaled to fit width x height, its shape kept, the rest black."""

    width: int
    height: int

    lacking: ClassVar[str] = "frames"

    def __post_init__(self) -> None:
        self.check(width=(self.width >= 1, "at least 1"), height=(self.height >= 1, "at least 1"))


@dataclass(frozen=True)
class DetectionView(WholeView):
    """The frame scaled to fit width x height, its shape kept, the rest black; and the boxes in it."""

    samples: ClassVar[type[Samples]] = DetectionSplit

    def __call__(self, frame: Frame) -> Detection:
        matrix = fit_matrix(frame.image.shape[1], frame.image.shape[0], self.width, self.height)
        fitted = warp_frame(frame, matrix, self.width, self.height)
        boxes = np.array([i.box_xyxy for i in fitted.instances], np.float32).reshape(-1, 4)
        labels = np.array([i.class_id for i in fitted.instances], np.int64)
        return Detection(fitted.image, boxes, labels, matrix)

    def rows(self, frame: Frame, split: str) -> Rows:
        """See the frame as one sample."""
        seen = self(frame)
        return Rows(
            [frame.key], {"images": seen.image[None]}, {"boxes": [seen.boxes], "labels": [seen.labels]}
        )

    def cut(
        self, mean: Colour, std: Colour, augmentation: Augmentation | None = None, num_classes: int = 0
    ) -> DetectionCut:
        """Make batches of frames with their boxes."""
        return DetectionCut(mean, std, augmentation, num_classes)


@dataclass(frozen=True)
class SegmentationView(WholeView):
    """The frame as DetectionView has it, and the class of each pixel: 0 is background, class i is i + 1."""

    samples: ClassVar[type[Samples]] = SegmentationSplit

    def classes(self, source: Any) -> tuple[str, ...]:
        """What a model tells apart: the background and the objects. Raises InputError for over 255."""
        if len(source.classes) > 255:
            raise InputError(f"{len(source.classes)} classes", where=source.name, expected="255 at most")
        return ("background", *source.classes)

    def rows(self, frame: Frame, split: str) -> Rows:
        """See the frame as one sample."""
        image, labels = self(frame)
        return Rows([frame.key], {"images": image[None], "labels": labels[None].astype(np.uint8)})

    def cut(
        self, mean: Colour, std: Colour, augmentation: Augmentation | None = None, num_classes: int = 0
    ) -> SegmentationCut:
        """Make batches of frames with a class for each pixel."""
        return SegmentationCut(mean, std, augmentation, num_classes)

    def __call__(self, frame: Frame) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Make the image uint8 (H, W, 3) and the labels int64 (H, W). Raises InputError without masks."""
        matrix = fit_matrix(frame.image.shape[1], frame.image.shape[0], self.width, self.height)
        fitted = warp_frame(frame, matrix, self.width, self.height, min_visible=0.0)
        labels = np.zeros((self.height, self.width), np.int64)
        for instance in fitted.instances:
            if instance.mask is None:
                raise InputError("an object has no mask", where=frame.key, expected="a source with masks")
            labels[instance.mask] = instance.class_id + 1
        return fitted.image, labels


class PoseCrop(NamedTuple):
    """One object for a pose network.

    image: uint8 (size, size, 3). K: float64 (3, 3), of the crop. T_cam_obj: float64 (4, 4). label: its class.
    number: which of the frame's objects it is.
    """

    image: NDArray[np.uint8]
    K: Matrix
    T_cam_obj: Matrix
    label: int
    number: int


@dataclass(frozen=True)
class PoseView(ImageView):
    """A square crop around each object, with context, and the camera that sees it.

    margin: context on each side, as a part of the box's longer side. min_pixels: smaller boxes are left out.
    """

    size: int = 128
    margin: float = 0.25
    min_pixels: int = 16

    samples: ClassVar[type[Samples]] = PoseSplit

    def __post_init__(self) -> None:
        self.check(
            size=(self.size >= 1, "at least 1"),
            margin=(0 <= self.margin < np.inf, "0 or more"),
            min_pixels=(self.min_pixels >= 1, "at least 1"),
        )

    @property
    def lacking(self) -> str:
        return f"objects of at least {self.min_pixels} pixels"

    def rows(self, frame: Frame, split: str) -> Rows:
        """See each object as one sample."""
        crops = self(frame)
        columns: dict[str, NDArray[Any]] = {
            "images": np.array([c.image for c in crops], np.uint8).reshape(-1, self.size, self.size, 3),
            "labels": np.array([c.label for c in crops], np.int64),
            "K": np.array([c.K for c in crops], np.float64).reshape(-1, 3, 3),
            "T_cam_obj": np.array([c.T_cam_obj for c in crops], np.float64).reshape(-1, 4, 4),
        }
        return Rows([f"{frame.key} object {c.number}" for c in crops], columns)

    def cut(
        self, mean: Colour, std: Colour, augmentation: Augmentation | None = None, num_classes: int = 0
    ) -> PoseCut:
        """Make batches of crops with their cameras and poses."""
        return PoseCut(mean, std, augmentation, num_classes)

    def __call__(self, frame: Frame) -> list[PoseCrop]:
        """Cut the crops. Raises InputError for a frame without poses or camera matrix."""
        crops = []
        for index, instance in enumerate(frame.instances):
            left, top, right, bottom = instance.box_xyxy
            if min(right - left, bottom - top) < self.min_pixels:
                continue
            if instance.T_cam_obj is None or frame.K is None:
                raise InputError("an object has no pose, or the frame no camera", where=frame.key)
            scale = self.size / (max(right - left, bottom - top) * (1 + 2 * self.margin))
            x, y = (self.size - 1) / 2 - scale * np.array([left + right, top + bottom]) / 2
            matrix = np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]])
            alone = Frame(frame.image, (), frame.source, frame.key, frame.group, frame.K)
            crop = warp_frame(alone, matrix, self.size, self.size)
            assert crop.K is not None
            crops.append(PoseCrop(crop.image, crop.K, instance.T_cam_obj.copy(), instance.class_id, index))
        return crops
