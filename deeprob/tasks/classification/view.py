"""Crops of objects, one class each: what of a frame is seen, its samples, and their batches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.augment import mix
from deeprob.data.batches.images import Generator, ImageCollate, ImageView, resize
from deeprob.data.batches.samples import ImageSamples, Rows
from deeprob.data.frame import Frame, Instance
from deeprob.data.settings import Augmentation
from deeprob.errors import InputError

ATTRIBUTES = ("box_pixels", "distance_m", "visible_fraction")
"""Of each crop: the shorter side of its box, the object's distance, the part of it that is not hidden."""

WHOLE = (-1.0, -1.0, 1.0, 1.0)
"""The window of an image that is all of its frame."""


@dataclass(frozen=True, eq=False)
class CropSamples(ImageSamples):
    """N labelled images.

    labels: int64 (N,).
    attributes: float32 (N, 3), what errors are grouped by: ATTRIBUTES, NaN where not known.
    windows: float32 (N, 4), what each shows of its frame: left, top, right, bottom, where the frame's own
        edges are -1 and 1.
    """

    labels: torch.Tensor
    attributes: torch.Tensor = field(default_factory=lambda: torch.empty(0, len(ATTRIBUTES)))
    windows: torch.Tensor = field(default_factory=lambda: torch.empty(0, len(WHOLE)))

    @property
    def class_ids(self) -> Tensor:
        """The class of each crop."""
        return self.labels

    def __post_init__(self) -> None:
        if len(self.attributes) == 0:  # nothing is known
            object.__setattr__(self, "attributes", torch.full((len(self.keys), len(ATTRIBUTES)), torch.nan))
        if len(self.windows) == 0:
            object.__setattr__(self, "windows", torch.tensor(WHOLE).repeat(len(self.keys), 1))

    def descriptors(self) -> torch.Tensor:
        """Describe each sample by numbers that nothing was learned for: its pixels, uint8 (N, H, W, 3)."""
        return self.images


class CropBatch(NamedTuple):
    """Images of one class each.

    labels: int64 (B,); where images were mixed, the share of each class, float32 (B, C).
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


@dataclass(frozen=True)
class CropCollate(ImageCollate):
    """Images of one class each.

    coordinates: add two channels, where each pixel lies in the frame that the image was cut from: see
        `coordinate_channels`.
    """

    coordinates: bool = False

    def __call__(self, split: CropSamples, indices: Tensor, generator: Generator) -> CropBatch:
        pixels, maps = self.pixels(split.images.index_select(0, indices), generator)
        if self.coordinates:
            pixels = torch.cat(
                [pixels, coordinate_channels(split.windows[indices], maps, *pixels.shape[2:])], 1
            )
        labels = split.labels[indices]
        a = self.augmentation
        if a is not None and (a.mixup or a.cutmix):
            pixels, labels = mix(pixels, labels, self.num_classes, a, generator)
        return CropBatch(pixels, labels, indices)


@dataclass(frozen=True)
class ClassificationView(ImageView):
    """Crops of the instances' boxes, resized to size x size.

    size: side of the crops in pixels.
    margin: context on each side, as a part of the box's width and height.
    min_pixels: boxes narrower or lower than this, in whole pixels, are left out.
    min_visible_fraction: instances known to be more hidden than this are left out.
    square: take a square around the box, which keeps shapes, in place of stretching the box to a square.
    channels: 3, the colours; 5, and where each pixel lies in the frame (coordinate_channels).
    """

    size: int = 32
    margin: float = 0.0
    min_pixels: int = 6
    min_visible_fraction: float = 0.0
    square: bool = False
    channels: int = 3

    samples: ClassVar[type[CropSamples]] = CropSamples
    task: ClassVar[str] = "deeprob.tasks.classification.task.Classification"
    boxes: ClassVar[str] = "any"

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
        attributes = np.array([attributes_of(frame.instances[i]) for i in self._seen(frame)], np.float32)
        attributes = attributes.reshape(-1, len(ATTRIBUTES))
        columns: dict[str, NDArray[Any]] = {"images": images, "labels": labels, "attributes": attributes}
        return Rows(keys, {**columns, "windows": self._windows(frame)})

    def collate(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        augmentation: Augmentation | None = None,
        num_classes: int = 0,
    ) -> CropCollate:
        """Make batches of crops."""
        return CropCollate(mean, std, augmentation, num_classes, coordinates=self.channels == 5)

    def described(self) -> dict[str, Any]:
        if self.channels != 3:
            raise InputError(
                f"view.channels={self.channels}: a crop's place in its frame", expected="3 for an export"
            )
        return {
            "height": self.size,
            "width": self.size,
            "resize": "crop",
            "margin": self.margin,
            "square": self.square,
            "how": "cut out the object's box, `margin` of its sides more on each side (`square`: the shorter "
            "side made as long), the image's border repeated outside; resize to width x height: the mean of "
            "the area where it shrinks, else bilinear",
        }

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
        """What each crop shows of the frame, (k, 4): see CropSamples."""
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


def attributes_of(instance: Instance) -> tuple[float, float, float]:
    """The attributes that errors are grouped by, ATTRIBUTES: NaN where the source does not say."""
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
    left, top, right, bottom = box_xyxy.tolist()  # of four numbers, arithmetic without arrays is faster
    return (
        max(math.floor(left + 0.5 + 1e-6), 0),
        max(math.floor(top + 0.5 + 1e-6), 0),
        min(math.ceil(right - 1e-6), width),
        min(math.ceil(bottom - 1e-6), height),
    )


def coordinate_channels(windows: Tensor, maps: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel lies in its frame, (B, 2, H, W): x and y, where the frame's edges are -1 and 1.

        (x, y)(p) = left top + (M^-1 p + 1/2) / (W, H) (right - left, bottom - top)

    windows: (B, 4), see CropSamples. maps: M (B, 3, 3), from the pixels of the image as it was
    cut to those of the augmented one: a pixel keeps its place wherever it is moved. But where the image is
    mirrored, its frame is too: x becomes -x, and grows from left to right as in every other image.

    An image stretched to a square has lost how large, how slender and how near to the horizon its object is;
    these channels bring all of it back. Source: Liu et al., An intriguing failing of convolutional neural
    networks and the CoordConv solution (2018), whose coordinates are those of the image itself.
    """
    back = torch.linalg.inv(maps)[:, :2]
    mirrored = torch.linalg.det(back[:, :, :2]) < 0
    sizes = (windows[:, 2:] - windows[:, :2]) / torch.tensor([width, height])
    slopes = sizes[:, :, None] * back
    slopes[:, :, 2] += windows[:, :2] + sizes / 2
    slopes[mirrored, 0] *= -1
    across, down, start = slopes[..., None].unbind(2)
    rows = start + down * torch.arange(height)
    found: Tensor = rows[..., None] + across[..., None] * torch.arange(width)
    return found
