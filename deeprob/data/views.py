"""Views: what one task sees of a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deeprob.data.crops import FACTS, Split
from deeprob.data.cuts import CropCut
from deeprob.data.frame import Frame, Instance
from deeprob.data.samples import Rows
from deeprob.data.settings import Augmentation
from deeprob.errors import InputError


class ImageView:
    """What views of images have in common: their augmentation, and the channels' mean and deviation."""

    augmentation: ClassVar[type] = Augmentation
    sees_clouds: ClassVar[bool] = False

    def statistics(self, samples: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel of a split's images, from 0 to 1."""
        return channel_statistics(samples.images)

    def classes(self, source: Any) -> tuple[str, ...]:
        """What a model tells apart: the objects."""
        return tuple(source.classes)

    def check(self, **valid: tuple[bool, str]) -> None:
        """Raise InputError naming the first setting that is not valid, and what was expected."""
        for field, (fits, expected) in valid.items():
            if not fits:
                raise InputError(f"view.{field} is {getattr(self, field)}", expected=expected)


@dataclass(frozen=True)
class ClassificationView(ImageView):
    """Crops of the instances' boxes, resized to size x size.

    size: side of the crops in pixels.
    margin: context on each side, as a part of the box's width and height.
    min_pixels: boxes narrower or lower than this, in whole pixels, are left out.
    min_visible_fraction: instances known to be more hidden than this are left out.
    square: take a square around the box, which keeps shapes, in place of stretching the box to a square.
    channels: 3, the colours; 5, and where each pixel lies in the frame (deeprob.data.cuts.places).
    """

    size: int = 32
    margin: float = 0.0
    min_pixels: int = 6
    min_visible_fraction: float = 0.0
    square: bool = False
    channels: int = 3

    samples: ClassVar[type[Split]] = Split

    def __post_init__(self) -> None:
        self.check(
            size=(self.size >= 1, "at least 1"),
            margin=(0 <= self.margin < math.inf, "0 or more"),
            min_pixels=(self.min_pixels >= 1, "at least 1"),
            min_visible_fraction=(0 <= self.min_visible_fraction <= 1, "0 to 1"),
            channels=(self.channels in (3, 5), "3 (colours) or 5 (colours and place in the frame)"),
        )

    @property
    def lacking(self) -> str:
        return f"crops of at least {self.min_pixels} pixels"

    def rows(self, frame: Frame, split: str) -> Rows:
        """See a frame's crops as samples."""
        images, labels, keys = self.crops(frame)
        facts = np.array([facts_of(frame.instances[i]) for i in self._seen(frame)], np.float32)
        facts = facts.reshape(-1, len(FACTS))
        columns: dict[str, NDArray[Any]] = {"images": images, "labels": labels, "facts": facts}
        return Rows(keys, {**columns, "windows": self._windows(frame)})

    def cut(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        augmentation: Augmentation | None = None,
        num_classes: int = 0,
    ) -> CropCut:
        """Make batches of crops."""
        return CropCut(mean, std, augmentation, num_classes, places=self.channels == 5)

    def crops(self, frame: Frame) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str]]:
        """Cut a frame's crops: uint8 (k, size, size, 3), classes int64 (k,), and keys `<frame> box <i>`.

        What a context margin takes from outside the image repeats the image's border.
        """
        images, labels, keys = [], [], []
        for index in self._seen(frame):
            instance = frame.instances[index]
            images.append(cut_out(frame.image, self._pixels(frame, instance), self.size))
            labels.append(instance.class_id)
            keys.append(f"{frame.key} box {index}")
        stacked = np.stack(images) if images else np.empty((0, self.size, self.size, 3), np.uint8)
        return stacked, np.array(labels, np.int64), keys

    def _seen(self, frame: Frame) -> list[int]:
        """Which of a frame's objects are large and visible enough."""
        height, width = frame.image.shape[:2]
        seen = []
        for index, instance in enumerate(frame.instances):
            left, top, right, bottom = pixel_range(instance.box_xyxy, width, height)
            if min(right - left, bottom - top) >= self.min_pixels and not self._is_hidden(instance):
                seen.append(index)
        return seen

    def _is_hidden(self, instance: Instance) -> bool:
        return instance.visible_fraction is not None and instance.visible_fraction < self.min_visible_fraction

    def _windows(self, frame: Frame) -> NDArray[np.float32]:
        """What each crop shows of the frame, (k, 4): see deeprob.data.crops.Split."""
        edges = [self._pixels(frame, frame.instances[index]) for index in self._seen(frame)]
        height, width = frame.image.shape[:2]
        found = 2 * np.array(edges, np.float64).reshape(-1, 4) / [width, height, width, height] - 1
        return found.astype(np.float32)

    def _pixels(self, frame: Frame, instance: Instance) -> tuple[int, int, int, int]:
        """The pixels of a crop: left, top, and right, bottom one past the last; context may lie outside."""
        rows, columns = frame.image.shape[:2]
        left, top, right, bottom = pixel_range(instance.box_xyxy, columns, rows)
        width, height = right - left, bottom - top
        pad_x, pad_y = round(width * self.margin), round(height * self.margin)
        if self.square:
            side = max(width + 2 * pad_x, height + 2 * pad_y)
            left, top = left - (side - width) // 2, top - (side - height) // 2
            return left, top, left + side, top + side
        return left - pad_x, top - pad_y, right + pad_x, bottom + pad_y


def cut_out(image: NDArray[np.uint8], pixels: tuple[int, int, int, int], size: int) -> NDArray[np.uint8]:
    """Cut left, top, right, bottom out of an image as (size, size, 3); outside, its border is repeated."""
    left, top, right, bottom = pixels
    rows, columns = image.shape[:2]
    inside = image[max(top, 0) : min(bottom, rows), max(left, 0) : min(right, columns)]
    outside = max(-top, 0), max(bottom - rows, 0), max(-left, 0), max(right - columns, 0)
    if any(outside):
        inside = np.asarray(cv2.copyMakeBorder(inside, *outside, cv2.BORDER_REPLICATE), np.uint8)
    return resize(inside, size, size)


def facts_of(instance: Instance) -> tuple[float, float, float]:
    """What errors are told apart by, FACTS: NaN where the source does not say."""
    left, top, right, bottom = instance.box_xyxy.tolist()
    pose, visible = instance.T_cam_obj, instance.visible_fraction
    return (
        min(right - left, bottom - top),
        math.nan if pose is None else float(np.linalg.norm(pose[:3, 3])),
        math.nan if visible is None else float(visible),
    )


def pixel_range(box_xyxy: NDArray[np.float64], width: int, height: int) -> tuple[int, int, int, int]:
    """Find the pixels of a box inside the image: left, top, and right, bottom one past the last.

    From the pixel that the left top corner lies in, to the last one whose centre is inside the box.
    """
    # An edge exactly between two pixels comes out of a text file a digit too low or too high: allow for that.
    left, top = np.floor(box_xyxy[:2] + 0.5 + 1e-6).astype(int)
    right, bottom = np.ceil(box_xyxy[2:] - 1e-6).astype(int)
    return max(int(left), 0), max(int(top), 0), min(int(right), width), min(int(bottom), height)


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
