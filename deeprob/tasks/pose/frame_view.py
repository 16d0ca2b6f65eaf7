"""Whole frames with the poses of their objects: what is seen, its samples, and their batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.images import UNMIXABLE, Colour, Generator, ImageCollate, WholeView
from deeprob.data.batches.samples import ImageSamples, Ragged, Rows, Samples
from deeprob.data.batches.warp import fit_matrix, warp_frame
from deeprob.data.frame import Frame, Instance
from deeprob.data.settings import Augmentation
from deeprob.errors import InputError
from deeprob.models.pose.targets import UNKNOWN_OWNER
from deeprob.tasks.pose.view import STORED, check_posed, nearest_cells, sampled, split_cameras, to_stored


@dataclass(frozen=True, eq=False)
class PoseFrameSamples(ImageSamples):
    """N frames, P x Q cells of STORED pixels.

    owners: uint8 (N, P, Q), 0, or the number from 1 of the object that is seen, 255 where nobody knows.
    depth: float32 (N, P, Q), metres, 0 without a reading. labels: int64 (n,) and T_cam_obj: float64 (n, 4, 4)
    of a frame's objects, visible: float64 (n,), visible fraction or NaN. K: float64 (N, 3, 3), of the frame.
    matrices: float64 (N, 3, 3), from its pixels to the image's. sizes: int64 (N, 2), its height and width.
    """

    owners: Tensor
    depth: Tensor
    K: Tensor
    matrices: Tensor
    sizes: Tensor
    labels: Ragged
    T_cam_obj: Ragged
    visible: Ragged

    @property
    def class_ids(self) -> Ragged:
        """The class of each object."""
        return self.labels


class PoseFrameBatch(NamedTuple):
    """Images with the poses of their objects.

    owners: uint8 (B, G, H), depth: float32 (B, G, H), of cells. labels: for each image int64 (n,).
    T_cam_obj: for each float32 (n, 4, 4), under K: float32 (B, 3, 3), the image's. turns: float32 (B, 3, 3),
    from the frame's camera to the image's, which is turned about its axis where the image is.
    """

    images: Tensor
    owners: Tensor
    depth: Tensor
    labels: list[Tensor]
    T_cam_obj: list[Tensor]
    K: Tensor
    turns: Tensor
    indices: Tensor


@dataclass(frozen=True)
class PoseFrameCollate(ImageCollate):
    """Frames with poses: the camera matrix follows the image, the poses follow a turn of it.

    cell: pixels to a cell of the batch's owners and depth.
    """

    cell: int = 4

    refused: ClassVar[Mapping[str, str]] = {"flip": "a mirrored object is another object", **UNMIXABLE}

    def __call__(self, split: PoseFrameSamples, indices: Tensor, generator: Generator) -> PoseFrameBatch:
        pixels, maps = self.pixels(split.images.index_select(0, indices), generator)
        K, turns = split_cameras(maps.double() @ split.matrices[indices] @ split.K[indices])
        labels, poses = split.labels.take(indices), split.T_cam_obj.take(indices)
        turned = []
        for turn, T in zip(turns, (poses[i] for i in range(len(indices))), strict=True):
            moved = T.clone()
            moved[:, :3] = turn @ T[:, :3]
            turned.append(moved.float())
        size = pixels.shape[2] // self.cell, pixels.shape[3] // self.cell
        planes = split.owners[indices], split.depth[indices]
        owners, depth = nearest_cells(planes, torch.linalg.inv(maps), size, self.cell)
        of = [labels[i] for i in range(len(indices))]
        return PoseFrameBatch(pixels, owners, depth, of, turned, K.float(), turns.float(), indices)


@dataclass(frozen=True)
class PoseFrameView(WholeView):
    """The frame scaled to fit width x height, its shape kept, the rest black, and the poses in it.

    cell: pixels to a cell that a network speaks of.
    """

    cell: int = 4

    samples: ClassVar[type[Samples]] = PoseFrameSamples
    task: ClassVar[str] = "deeprob.tasks.pose.frame_task.FramePose"

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = self.cell >= STORED and self.width % self.cell == 0 and self.height % self.cell == 0
        self.check(cell=(whole, f"at least {STORED}, and a part of width and height"))

    def rows(self, frame: Frame, split: str) -> Rows:
        """See the frame as one sample. Raises InputError without a camera, poses, or in training masks."""
        check_posed(frame, frame.instances)
        if split == "train" and any(i.mask is None for i in frame.instances):
            raise InputError("an object has no mask", where=frame.key, expected="a data set with masks")
        if len(frame.instances) >= UNKNOWN_OWNER:
            expected = f"fewer than {UNKNOWN_OWNER}"
            raise InputError(f"{len(frame.instances)} objects", where=frame.key, expected=expected)
        matrix = fit_matrix(frame.image.shape[1], frame.image.shape[0], self.width, self.height)
        image = warp_frame(replace(frame, instances=(), crowds=(), depth_m=None), matrix, *self._size).image
        to_cells, size = to_stored(matrix), (self.height // STORED, self.width // STORED)
        depth: NDArray[np.float32] = np.zeros(size, np.float32)
        if frame.depth_m is not None:
            depth = sampled(frame.depth_m, to_cells, size)
        visible = [np.nan if i.visible_fraction is None else i.visible_fraction for i in frame.instances]
        columns: dict[str, NDArray[Any]] = {
            "images": image[None],
            "owners": sampled(_owners(frame), to_cells, size)[None],
            "depth": depth[None],
            "K": np.asarray(frame.K, np.float64)[None],
            "matrices": matrix[None],
            "sizes": np.array([frame.image.shape[:2]], np.int64),
        }
        poses = np.array([i.T_cam_obj for i in frame.instances], np.float64).reshape(-1, 4, 4)
        ragged: dict[str, list[NDArray[Any]]] = {
            "labels": [np.array([i.class_id for i in frame.instances], np.int64)],
            "T_cam_obj": [poses],
            "visible": [np.array(visible, np.float64)],
        }
        return Rows([frame.key], columns, ragged)

    @property
    def _size(self) -> tuple[int, int]:
        return self.width, self.height

    def collate(
        self, mean: Colour, std: Colour, augmentation: Augmentation | None = None, num_classes: int = 0
    ) -> PoseFrameCollate:
        """Make batches of frames with their cameras and poses."""
        return PoseFrameCollate(mean, std, augmentation, num_classes, self.cell)


def _owners(frame: Frame) -> NDArray[np.uint8]:
    """The number from 1 of the object that each pixel shows, uint8 (H, W), 0 for none."""
    owners: NDArray[np.uint8] = np.zeros(frame.image.shape[:2], np.uint8)
    for crowd in frame.crowds:
        owners[_region(crowd)] = UNKNOWN_OWNER
    for number, instance in enumerate(frame.instances, 1):
        owners[_region(instance)] = UNKNOWN_OWNER if instance.mask is None else number
    return owners


def _region(instance: Instance) -> Any:
    """The pixels of a mask; of the box where there is none."""
    if instance.mask is not None:
        return instance.mask
    left, top, right, bottom = (np.asarray(instance.box_xyxy) + 0.5).round().astype(int).clip(0)
    return slice(top, bottom), slice(left, right)
