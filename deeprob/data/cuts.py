"""Batches of images cut from a split: normalised, augmented, and the labels of each task moved along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor

from deeprob.data.augment import augment_with_maps, mix, normalise
from deeprob.data.batches import Batch, DetectionBatch, PoseBatch, SegmentationBatch
from deeprob.data.settings import Augmentation
from deeprob.data.warp import split_camera
from deeprob.errors import InputError

if TYPE_CHECKING:
    from deeprob.data.crops import Split
    from deeprob.data.frame_views import DetectionSplit, PoseSplit, SegmentationSplit

Colour = tuple[float, ...]
Generator = torch.Generator
UNMIXABLE = dict.fromkeys(("mixup", "cutmix"), "only images of one class can be mixed")


@dataclass(frozen=True)
class ImageCut:
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


@dataclass(frozen=True)
class CropCut(ImageCut):
    """Images of one class each.

    places: add two channels, where each pixel lies in the frame that the image was cut from: see `places`.
    """

    places: bool = False

    def __call__(self, split: Split, indices: Tensor, generator: Generator) -> Batch:
        pixels, maps = self.pixels(split.images.index_select(0, indices), generator)
        if self.places:
            pixels = torch.cat([pixels, places(split.windows[indices], maps, *pixels.shape[2:])], 1)
        labels = split.labels[indices]
        a = self.augmentation
        if a is not None and (a.mixup or a.cutmix):
            pixels, labels = mix(pixels, labels, self.num_classes, a, generator)
        return Batch(pixels, labels, indices)


@dataclass(frozen=True)
class DetectionCut(ImageCut):
    """Images with boxes; an object of which less than `min_visible` of its box stays inside is left out."""

    min_visible: float = 0.25

    refused: ClassVar[Mapping[str, str]] = UNMIXABLE

    def __call__(self, split: DetectionSplit, indices: Tensor, generator: Generator) -> DetectionBatch:
        pixels, maps = self.pixels(split.images.index_select(0, indices), generator)
        boxes, labels = split.boxes.take(indices), split.labels.take(indices)
        owner = torch.arange(len(indices)).repeat_interleave(boxes.counts)
        moved = boxes.values
        kept = torch.ones(len(moved), dtype=torch.bool)
        if self.augmentation is not None:
            height, width = pixels.shape[2:]
            moved, kept = move_boxes(moved, maps[owner], height, width, self.min_visible)
        counts = torch.bincount(owner[kept], minlength=len(indices)).tolist()
        of_images = [list(torch.split(rows[kept], counts)) for rows in (moved, labels.values)]
        return DetectionBatch(pixels, of_images[0], of_images[1], indices)


class SegmentationCut(ImageCut):
    """Images with a class for each pixel."""

    refused: ClassVar[Mapping[str, str]] = UNMIXABLE

    def __call__(self, split: SegmentationSplit, indices: Tensor, generator: Generator) -> SegmentationBatch:
        pixels, maps = self.pixels(split.images.index_select(0, indices), generator)
        labels = split.labels.index_select(0, indices)
        if self.augmentation is not None:
            labels = torch.stack([move_mask(m, move) for m, move in zip(labels, maps, strict=True)])
        return SegmentationBatch(pixels, labels.long(), indices)


class PoseCut(ImageCut):
    """Crops of one object each: the camera matrix follows the image, the pose follows a turn of it."""

    refused: ClassVar[Mapping[str, str]] = {"flip": "a mirrored object is another object", **UNMIXABLE}

    def __call__(self, split: PoseSplit, indices: Tensor, generator: Generator) -> PoseBatch:
        pixels, maps = self.pixels(split.images.index_select(0, indices), generator)
        K, pose = split.K[indices], split.T_cam_obj[indices]
        if self.augmentation is not None:
            products = (maps.double() @ K).numpy()
            cameras, turns = zip(*map(split_camera, products), strict=True)
            K = torch.from_numpy(np.stack(cameras))
            pose = pose.clone()
            pose[:, :3] = torch.from_numpy(np.stack(turns)) @ pose[:, :3]
        return PoseBatch(pixels, split.labels[indices], K.float(), pose.float(), indices)


def places(windows: Tensor, maps: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel lies in its frame, (B, 2, H, W): x and y, where the frame's edges are -1 and 1.

        (x, y)(p) = left top + (M^-1 p + 1/2) / (W, H) (right - left, bottom - top)

    windows: (B, 4), see deeprob.data.crops.Split. maps: M (B, 3, 3), from the pixels of the image as it was
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
