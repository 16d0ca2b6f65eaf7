"""Clouds whose points carry the part that they lie on: their samples, and their batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.samples import Ragged, Rows, Samples
from deeprob.data.frame import Frame
from deeprob.data.readers.points import Cloud
from deeprob.data.settings import PointAugmentation
from deeprob.errors import InputError
from deeprob.tasks.points.view import PointBatch, PointCollate, PointSamples, PointsView


@dataclass(frozen=True, eq=False)
class PartSamples(PointSamples):
    """Clouds whose points are labelled. parts: int64 (M,), the part of each point."""

    parts: Ragged = field(kw_only=True)


class PartCollate(PointCollate):
    """Batches whose labels are the parts of the points."""

    def __call__(self, split: Any, indices: Tensor, generator: torch.Generator) -> PointBatch:
        points, rows = self.sample(split, indices, generator)
        return PointBatch(points, split.parts.values[rows], indices)


@dataclass(frozen=True)
class PartsView(PointsView):
    """Clouds whose points carry the number of the part that they lie on, for part segmentation."""

    samples: ClassVar[type[Samples]] = PartSamples
    task: ClassVar[str] = "deeprob.tasks.part_segmentation.task.PartSegmentationTask"

    def classes(self, source: Any) -> tuple[str, ...]:
        """What a model tells apart: the parts. Raises InputError where the source names none."""
        if not source.part_names:
            raise InputError(
                "the points have no parts", where=source.name, fix="set data.source.part_names=[...]"
            )
        return tuple(source.part_names)

    def collate(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        augmentation: PointAugmentation | None = None,
        num_classes: int = 0,
    ) -> PartCollate:
        """Make batches of clouds with a label a point."""
        return PartCollate(self.num_points, self.scale, self.noise, augmentation)

    def _of_frame(self, frame: Frame) -> Rows:
        raise InputError("depth has no part labels", where=frame.key, expected="clouds with parts")

    def _labels(self, cloud: Cloud, kept: list[NDArray[np.int64]]) -> dict[str, list[NDArray[Any]]]:
        if cloud.parts is None:
            raise InputError("no part labels", where=cloud.key, expected="rows x y z [nx ny nz] part")
        return {"parts": [cloud.parts[index] for index in kept]}
