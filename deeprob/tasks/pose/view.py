"""Crops of objects with the camera that sees them: what is seen, its samples, and their batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.images import UNMIXABLE, Colour, Generator, ImageCollate, ImageView
from deeprob.data.batches.samples import ImageSamples, Rows, Samples
from deeprob.data.batches.warp import Matrix, split_camera, warp_frame
from deeprob.data.frame import Frame
from deeprob.data.settings import Augmentation
from deeprob.errors import InputError


@dataclass(frozen=True, eq=False)
class PoseSamples(ImageSamples):
    """N crops of one object each.

    labels: int64 (N,). K: float64 (N, 3, 3). T_cam_obj: float64 (N, 4, 4).
    """

    labels: Tensor
    K: Tensor
    T_cam_obj: Tensor


class PoseBatch(NamedTuple):
    """Crops of one object each. labels: int64 (B,). K: float32 (B, 3, 3). T_cam_obj: float32 (B, 4, 4)."""

    images: Tensor
    labels: Tensor
    K: Tensor
    T_cam_obj: Tensor
    indices: Tensor


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


class PoseCollate(ImageCollate):
    """Crops of one object each: the camera matrix follows the image, the pose follows a turn of it."""

    refused: ClassVar[Mapping[str, str]] = {"flip": "a mirrored object is another object", **UNMIXABLE}

    def __call__(self, split: PoseSamples, indices: Tensor, generator: Generator) -> PoseBatch:
        pixels, maps = self.pixels(split.images.index_select(0, indices), generator)
        K, pose = split.K[indices], split.T_cam_obj[indices]
        if self.augmentation is not None:
            products = (maps.double() @ K).numpy()
            cameras, turns = zip(*map(split_camera, products), strict=True)
            K = torch.from_numpy(np.stack(cameras))
            pose = pose.clone()
            pose[:, :3] = torch.from_numpy(np.stack(turns)) @ pose[:, :3]
        return PoseBatch(pixels, split.labels[indices], K.float(), pose.float(), indices)


@dataclass(frozen=True)
class PoseView(ImageView):
    """A square crop around each object, with context, and the camera that sees it.

    margin: context on each side, as a part of the box's longer side. min_pixels: smaller boxes are left out.
    """

    size: int = 128
    margin: float = 0.25
    min_pixels: int = 16

    samples: ClassVar[type[Samples]] = PoseSamples
    task: ClassVar[str] = "deeprob.tasks.pose.task.Pose"
    boxes: ClassVar[str] = "named"

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

    def collate(
        self, mean: Colour, std: Colour, augmentation: Augmentation | None = None, num_classes: int = 0
    ) -> PoseCollate:
        """Make batches of crops with their cameras and poses."""
        return PoseCollate(mean, std, augmentation, num_classes)

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
