"""Views of whole frames: detection, segmentation, poses and point clouds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame, Instance
from deeprob.data.points import cloud_from_depth, sample_points
from deeprob.data.warp import Matrix, fit_matrix, warp_frame
from deeprob.errors import InputError


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
class DetectionView:
    """The frame scaled to fit width x height, its shape kept, the rest black."""

    width: int
    height: int

    def __call__(self, frame: Frame) -> Detection:
        matrix = fit_matrix(frame.image.shape[1], frame.image.shape[0], self.width, self.height)
        fitted = warp_frame(frame, matrix, self.width, self.height)
        boxes = np.array([i.box_xyxy for i in fitted.instances], np.float32).reshape(-1, 4)
        labels = np.array([i.class_id for i in fitted.instances], np.int64)
        return Detection(fitted.image, boxes, labels, matrix)

    @staticmethod
    def collate(
        samples: Sequence[Detection],
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
        """Stack samples: images (B, H, W, 3), boxes (B, M, 4) and labels (B, M), filled up with -1."""
        most = max((len(sample.labels) for sample in samples), default=0)
        boxes = np.full((len(samples), most, 4), -1, np.float32)
        labels = np.full((len(samples), most), -1, np.int64)
        for index, sample in enumerate(samples):
            boxes[index, : len(sample.boxes)] = sample.boxes
            labels[index, : len(sample.labels)] = sample.labels
        return np.stack([sample.image for sample in samples]), boxes, labels


@dataclass(frozen=True)
class SegmentationView:
    """The frame as DetectionView has it, and the class of each pixel: 0 is background, class i is i + 1."""

    width: int
    height: int

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
    """

    image: NDArray[np.uint8]
    K: Matrix
    T_cam_obj: Matrix
    label: int


@dataclass(frozen=True)
class PoseView:
    """A square crop around each object, with context, and the camera that sees it.

    margin: context on each side, as a part of the box's longer side. min_pixels: smaller boxes are left out.
    """

    size: int = 128
    margin: float = 0.25
    min_pixels: int = 16

    def __call__(self, frame: Frame) -> list[PoseCrop]:
        """Cut the crops. Raises InputError for a frame without poses or camera matrix."""
        crops = []
        for instance in frame.instances:
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
            crops.append(PoseCrop(crop.image, crop.K, instance.T_cam_obj.copy(), instance.class_id))
        return crops


@dataclass(frozen=True)
class PointsView:
    """Points of each object from depth, about their centre.

    min_points: objects with fewer readings are left out.
    """

    num_points: int = 1024
    min_points: int = 64

    def __call__(
        self, frame: Frame, rng: np.random.Generator
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float64], Instance]]:
        """Sample each object: points float32 (num_points, 3), their centre (3,) in the camera, the object."""
        clouds = []
        for instance in frame.instances:
            points = cloud_from_depth(frame, instance)
            if len(points) >= self.min_points:
                chosen = points[sample_points(len(points), self.num_points, rng)]
                centre = chosen.mean(0)
                clouds.append(((chosen - centre).astype(np.float32), centre, instance))
        return clouds
