"""Frames with boxes and masks: what of a frame is seen, its samples, and their batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.images import UNMIXABLE, Colour, Generator
from deeprob.data.batches.samples import Ragged, Rows, Samples
from deeprob.data.batches.warp import Matrix
from deeprob.data.frame import Frame, Instance
from deeprob.data.settings import Augmentation, DetectionAugmentation
from deeprob.errors import InputError
from deeprob.tasks.detection.augment import check_crop
from deeprob.tasks.detection.view import DetectionCollate, DetectionSamples, DetectionView
from deeprob.tasks.instance_segmentation.batch import InstanceBatch
from deeprob.tasks.instance_segmentation.copy_paste import copy_paste
from deeprob.tasks.instance_segmentation.masks import from_runs, move, run_lengths


@dataclass(frozen=True, eq=False)
class InstanceSamples(DetectionSamples):
    """N frames with boxes and masks.

    mask_runs: int32 (R,), the run lengths of a frame's masks in the view's pixels, one after the other;
    mask_lengths: int64 (n,), how many each has. crowd_runs, crowd_lengths: of its crowds.
    """

    mask_runs: Ragged
    mask_lengths: Ragged
    crowd_runs: Ragged
    crowd_lengths: Ragged


@dataclass(frozen=True)
class InstanceCollate(DetectionCollate):
    """Images with boxes, and masks that move along with them."""

    refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(UNMIXABLE, "masks cannot be mixed"),
        "mosaic": "masks of several frames cannot be joined yet",
    }

    def __call__(  # type: ignore[override]
        self, split: InstanceSamples, indices: Tensor, generator: Generator
    ) -> InstanceBatch:
        numbers = torch.arange(len(split.labels.values))  # boxes keep their number on the way
        numbered = replace(split, labels=Ragged(numbers, split.labels.offsets))
        batch = super().__call__(numbered, indices, generator)
        size = int(split.images.shape[1]), int(split.images.shape[2])
        moves = (batch.matrices @ torch.linalg.inv(split.matrices[indices])).numpy().round(9)
        height, width = batch.images.shape[2:]
        masks = []
        for of_image, matrix in zip(batch.labels, moves, strict=True):
            given = masks_of(split.mask_runs.values, split.mask_lengths.values, of_image.tolist(), size)
            moved = [move(mask, matrix, height, width) for mask in given]
            masks.append(torch.from_numpy(np.stack(moved)) if moved else torch.zeros(0, height, width) > 0)
        labels = [split.labels.values[of_image] for of_image in batch.labels]
        found = InstanceBatch(*batch._replace(labels=labels), masks, split.sizes[indices])
        a = self.augmentation
        if a is None or not a.copy_paste:
            return found
        return copy_paste(found, a.copy_paste, a.min_visible, generator)


@dataclass(frozen=True)
class InstanceView(DetectionView):
    """The frame as DetectionView has it, and the mask of each object."""

    samples: ClassVar[type[Samples]] = InstanceSamples
    task: ClassVar[str] = "deeprob.tasks.instance_segmentation.task.InstanceSegmentation"

    def rows_of(self, frame: Frame, fitted: Frame, matrix: Matrix) -> Rows:
        """The sample of a frame. Raises InputError for an object without a mask."""
        rows = super().rows_of(frame, fitted, matrix)
        for name, marked in (("mask", fitted.instances), ("crowd", fitted.crowds)):
            runs = [_runs(instance, frame.key) for instance in marked]
            rows.ragged[f"{name}_runs"] = [np.concatenate([np.zeros(0, np.int32), *runs])]
            rows.ragged[f"{name}_lengths"] = [np.array([len(r) for r in runs], np.int64)]
        return rows

    def collate(
        self, mean: Colour, std: Colour, augmentation: Augmentation | None = None, num_classes: int = 0
    ) -> InstanceCollate:
        """Make batches of frames with boxes and masks. Raises InputError for a crop larger than the frame."""
        if augmentation is None:
            return InstanceCollate(mean, std, None, num_classes)
        settings = DetectionAugmentation(**vars(augmentation))
        check_crop(settings.crop, self)
        return InstanceCollate(mean, std, settings, num_classes)


def masks_of(
    runs: Tensor, lengths: Tensor, numbers: Sequence[int], size: tuple[int, int]
) -> list[NDArray[np.bool_]]:
    """Some masks bool (height, width) of those that `runs`, each of `lengths`, hold one after the other."""
    ends = lengths.cumsum(0)
    return [
        from_runs(runs[int(ends[i] - lengths[i]) : int(ends[i])].numpy(), size[0], size[1]) for i in numbers
    ]


def _runs(instance: Instance, where: str) -> NDArray[np.int32]:
    if instance.mask is None:
        raise InputError("an object has no mask", where=where, expected="a data set with masks")
    return run_lengths(instance.mask)
