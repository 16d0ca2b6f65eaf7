"""Crops of objects with the camera that sees them: what is seen, its samples, and their batches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.images import UNMIXABLE, Colour, Generator, ImageCollate, ImageView
from deeprob.data.batches.samples import ImageSamples, Rows, Samples
from deeprob.data.batches.warp import Matrix, warp_frame
from deeprob.data.frame import Frame, Instance
from deeprob.data.settings import Augmentation
from deeprob.errors import InputError
from deeprob.models.pose.targets import UNKNOWN

STORED, FIRST = (
    2,
    1.5,
)  # pixels of a crop from one reading of a sample's depth and mask to the next; the first
# is where the middles of cells of 4, 8, ... pixels are readings
AROUND = 8  # pixels of the frame around a crop: what is smoothed at its edge


@dataclass(frozen=True, eq=False)
class PoseSamples(ImageSamples):
    """N crops of one object each, P x P cells.

    labels: int64 (N,). K: float64 (N, 3, 3) and T_cam_obj: float64 (N, 4, 4), of the frame. matrices: float64
    (N, 3, 3), from the frame's pixels to the crop's. depth: float32 (N, P, P), metres, 0 without a reading.
    mask: uint8 (N, P, P), 1 on what is visible of the object, 2 where nobody knows. sizes: int64 (N, 2), the
    frame's height and width. visible: float64 (N,), visible fraction, or NaN.
    """

    labels: Tensor
    K: Tensor
    T_cam_obj: Tensor
    depth: Tensor
    mask: Tensor
    matrices: Tensor
    sizes: Tensor
    visible: Tensor

    @property
    def class_ids(self) -> Tensor:
        """The class of each crop."""
        return self.labels


class PoseBatch(NamedTuple):
    """Crops of one object each.

    labels: int64 (B,). K: float32 (B, 3, 3), of the crop, and T_cam_obj: float32 (B, 4, 4), under it.
    depth: float32 (B, G, G), metres. mask: uint8 (B, G, G), 1 on the object, 2 unknown. turns: float32
    (B, 3, 3), from the frame's camera to the crop's, which is turned about its axis where the crop is.
    """

    images: Tensor
    labels: Tensor
    K: Tensor
    T_cam_obj: Tensor
    depth: Tensor
    mask: Tensor
    turns: Tensor
    indices: Tensor


class PoseCrop(NamedTuple):
    """One object for a pose network.

    image: uint8 (size, size, 3). K: float64 (3, 3) and T_cam_obj: float64 (4, 4), of the frame. label: its
    class. depth: float32 (P, P). mask: uint8 (P, P). matrix: float64 (3, 3), from the frame's pixels to the
    crop's. number: which of the frame's objects it is.
    """

    image: NDArray[np.uint8]
    K: Matrix
    T_cam_obj: Matrix
    label: int
    depth: NDArray[np.float32]
    mask: NDArray[np.uint8]
    matrix: Matrix
    number: int


@dataclass(frozen=True)
class PoseCollate(ImageCollate):
    """Crops of one object each: the camera matrix follows the image, the pose follows a turn of it.

    cell: pixels of a crop to a cell of the batch's depth and mask.
    """

    cell: int = 8

    refused: ClassVar[Mapping[str, str]] = {"flip": "a mirrored object is another object", **UNMIXABLE}

    def __call__(self, split: PoseSamples, indices: Tensor, generator: Generator) -> PoseBatch:
        pixels, maps = self.pixels(split.images.index_select(0, indices), generator)
        K, turns = split_cameras(maps.double() @ split.matrices[indices] @ split.K[indices])
        pose = split.T_cam_obj[indices].clone()
        pose[:, :3] = turns @ pose[:, :3]
        depth, mask = nearest_cells(
            (split.depth[indices], split.mask[indices]),
            torch.linalg.inv(maps),
            (pixels.shape[2] // self.cell, pixels.shape[3] // self.cell),
            self.cell,
        )
        labels = split.labels[indices]
        return PoseBatch(pixels, labels, K.float(), pose.float(), depth, mask, turns.float(), indices)


def split_cameras(products: Tensor) -> tuple[Tensor, Tensor]:
    """Split products M K (B, 3, 3) as `split_camera` does: cameras, and turns about their axes."""
    length = torch.hypot(products[:, 1, 0], products[:, 1, 1])
    cos, sin = products[:, 1, 1] / length, products[:, 1, 0] / length
    turns = torch.eye(3, dtype=products.dtype).repeat(len(products), 1, 1)
    turns[:, 0, 0], turns[:, 0, 1], turns[:, 1, 0], turns[:, 1, 1] = cos, -sin, sin, cos
    K = products @ turns.mT
    K[:, 1, 0] = 0.0  # exactly, not to rounding
    return K, turns


def nearest_cells(planes: Sequence[Tensor], back: Tensor, size: tuple[int, int], cell: int) -> list[Tensor]:
    """Planes (B, P, Q) of readings every STORED pixels, seen in new images: (B, *size), 0 outside.

    back: (B, 3, 3), from new pixels to old. size: rows and columns of cells that are `cell` new pixels wide.
    """
    rows, columns = ((torch.arange(n) + 0.5) * cell - 0.5 for n in size)
    count, height, width = planes[0].shape
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], -1).view(-1, 3)
    old = (pixels @ back.mT)[..., :2]
    cells = ((old - FIRST) / STORED).round().long()
    last = torch.tensor([width - 1, height - 1])
    outside = ((cells < 0) | (cells > last)).any(-1)
    flat = cells.clamp_min(0).minimum(last)
    index = flat[..., 1] * width + flat[..., 0]
    return [
        plane.reshape(count, -1).gather(1, index).masked_fill_(outside, 0).view(count, *size)
        for plane in planes
    ]


@dataclass(frozen=True)
class PoseView(ImageView):
    """A square crop around each object, with context, and the camera that sees it.

    cell: pixels of a crop to a cell that a network speaks of (its stride).
    margin: context on each side, as a part of the box's longer side. min_pixels: smaller boxes are left out.
    min_visible: objects less visible are left out of training.
    jitter: in training the crop's middle moves by so much of its side, and its side by such a factor, as
        the boxes of a detector do. turn: in training the crop is turned by up to so many radians.
    """

    size: int = 128
    cell: int = 8
    margin: float = 0.25
    min_pixels: int = 16
    min_visible: float = 0.0
    jitter: float = 0.0
    turn: float = 0.0

    samples: ClassVar[type[Samples]] = PoseSamples
    task: ClassVar[str] = "deeprob.tasks.pose.task.Pose"
    boxes: ClassVar[str] = "named"

    def __post_init__(self) -> None:
        self.check(
            cell=(self.cell >= STORED, f"at least {STORED}"),
            size=(self.size >= 1 and self.size % max(1, self.cell) == 0, f"a multiple of cell={self.cell}"),
            margin=(0 <= self.margin < np.inf, "0 or more"),
            min_pixels=(self.min_pixels >= 1, "at least 1"),
            min_visible=(0 <= self.min_visible <= 1, "a share from 0 to 1"),
            jitter=(0 <= self.jitter < 0.5, "a share from 0 to under 0.5"),
            turn=(0 <= self.turn <= 3.15, "0 to 3.15 radians"),
        )

    def described(self) -> dict[str, Any]:
        return {
            "height": self.size,
            "width": self.size,
            "resize": "crop",
            "margin": self.margin,
            "how": "a square around each box's middle (x, y), side = longer side (1 + 2 margin), s = size / "
            "side; M = [[s, 0, (size - 1) / 2 - s x], [0, s, (size - 1) / 2 - s y], [0, 0, 1]] takes the "
            "frame's pixels to the crop's; where s < 1, blur before with a Gaussian of sigma "
            "sqrt(1 / s^2 - 1) / 2 pixels; bilinear, black outside",
        }

    @property
    def lacking(self) -> str:
        return f"objects of at least {self.min_pixels} pixels"

    def rows(self, frame: Frame, split: str) -> Rows:
        """See each object as one sample."""
        crops = self(frame, training=split == "train")
        stored = self.size // STORED
        seen = [frame.instances[c.number].visible_fraction for c in crops]
        columns: dict[str, NDArray[Any]] = {
            "images": np.array([c.image for c in crops], np.uint8).reshape(-1, self.size, self.size, 3),
            "labels": np.array([c.label for c in crops], np.int64),
            "K": np.array([c.K for c in crops], np.float64).reshape(-1, 3, 3),
            "T_cam_obj": np.array([c.T_cam_obj for c in crops], np.float64).reshape(-1, 4, 4),
            "depth": np.array([c.depth for c in crops], np.float32).reshape(-1, stored, stored),
            "mask": np.array([c.mask for c in crops], np.uint8).reshape(-1, stored, stored),
            "matrices": np.array([c.matrix for c in crops], np.float64).reshape(-1, 3, 3),
            "sizes": np.array([frame.image.shape[:2]] * len(crops), np.int64).reshape(-1, 2),
            "visible": np.array([np.nan if v is None else v for v in seen], np.float64),
        }
        return Rows([f"{frame.key} object {c.number}" for c in crops], columns)

    def collate(
        self, mean: Colour, std: Colour, augmentation: Augmentation | None = None, num_classes: int = 0
    ) -> PoseCollate:
        """Make batches of crops with their cameras and poses."""
        return PoseCollate(mean, std, augmentation, num_classes, self.cell)

    def __call__(self, frame: Frame, training: bool = False) -> list[PoseCrop]:
        """Cut the crops. Raises InputError for a frame without poses or camera matrix."""
        crops = []
        for number, instance in enumerate(frame.instances):
            box = instance.box_xyxy
            if min(box[2] - box[0], box[3] - box[1]) < self.min_pixels:
                continue
            if training and (instance.visible_fraction or 1.0) < self.min_visible:
                continue
            check_posed(frame, [instance])
            draws: NDArray[np.float64] = np.zeros(4)
            if training and (self.jitter or self.turn):
                name = hashlib.sha256(f"{frame.key} {number}".encode()).digest()
                draws = np.random.default_rng(int.from_bytes(name[:8], "little")).uniform(-1, 1, 4)
            crops.append(self._crop(frame, number, instance, self._matrix(box, draws)))
        return crops

    def _matrix(self, box: NDArray[np.float64], draws: NDArray[np.float64]) -> Matrix:
        """From the frame's pixels to those of a crop around a box, moved by draws (4,) in -1..1."""
        left, top, right, bottom = box
        side = max(right - left, bottom - top) * (1 + 2 * self.margin) * (1 + 2 * self.jitter) ** draws[2]
        middle = np.array([left + right, top + bottom]) / 2 + self.jitter * side * draws[:2]
        angle, scale = self.turn * draws[3], self.size / side
        linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = np.eye(3)
        matrix[:2, :2] = linear
        matrix[:2, 2] = (self.size - 1) / 2 - linear @ middle
        return matrix

    def _crop(self, frame: Frame, number: int, instance: Instance, matrix: Matrix) -> PoseCrop:
        assert frame.K is not None
        assert instance.T_cam_obj is not None
        stored = self.size // STORED
        to_cells, size = to_stored(matrix), (stored, stored)
        mask: NDArray[np.uint8] = np.full(size, UNKNOWN, np.uint8)
        if instance.mask is not None:
            mask = sampled(instance.mask.view(np.uint8), to_cells, size)
        depth: NDArray[np.float32] = np.zeros(size, np.float32)
        if frame.depth_m is not None:
            depth = sampled(frame.depth_m, to_cells, size)
        image = _cut(frame, matrix, self.size)
        return PoseCrop(image, frame.K, instance.T_cam_obj, instance.class_id, depth, mask, matrix, number)


def check_posed(frame: Frame, instances: Sequence[Instance]) -> None:
    """Raise InputError for a frame without a camera, or with an object without a pose."""
    if frame.K is None:
        expected = "its K; for predict intrinsics=[fx,fy,cx,cy]"
        raise InputError("no camera matrix", where=frame.key, expected=expected)
    if any(i.T_cam_obj is None for i in instances):
        raise InputError("an object has no pose", where=frame.key)


def to_stored(matrix: Matrix) -> Matrix:
    """The map to an image's pixels, made one to its readings every STORED pixels."""
    shrink = np.array([[1, 0, -FIRST], [0, 1, -FIRST], [0, 0, STORED]]) / STORED
    return np.asarray(shrink @ matrix)


def sampled(plane: NDArray[Any], matrix: Matrix, size: tuple[int, int]) -> NDArray[Any]:
    """A plane seen through a map, by its nearest pixels, in so many rows and columns; 0 outside."""
    return np.asarray(cv2.warpAffine(plane, matrix[:2], size[::-1], flags=cv2.INTER_NEAREST))


def _cut(frame: Frame, matrix: Matrix, side: int) -> NDArray[np.uint8]:
    """The image (side, side, 3) that a map shows of a frame; only the part that it shows is touched."""
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]]) - [0.5, 0.5, 0]
    at = corners @ np.linalg.inv(matrix)[:2].T
    limits = frame.image.shape[1], frame.image.shape[0]
    left, top = np.clip(np.floor(at.min(0)).astype(int) - AROUND, 0, limits)
    right, bottom = np.clip(np.ceil(at.max(0)).astype(int) + AROUND, 0, limits)
    if right <= left or bottom <= top:
        return np.zeros((side, side, 3), np.uint8)
    part = Frame(frame.image[top:bottom, left:right], (), frame.source, frame.key, frame.group)
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
    return warp_frame(part, matrix @ shift, side, side).image
