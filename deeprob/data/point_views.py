"""Clouds of points as samples: of objects seen from chosen viewpoints, or cut from frames with depth."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.frame import Frame
from deeprob.data.point_cuts import PartCut, PointCut, draw_clouds, shape_distribution
from deeprob.data.points import Cloud, Points, cloud_from_depth, sample_points, visible_points
from deeprob.data.samples import Ragged, Rows, Samples
from deeprob.data.settings import PointAugmentation
from deeprob.errors import InputError

ORIENTATIONS = ("any", "vertical", "fixed")
SPARE = 4  # points kept of a cloud for each one in a batch


@dataclass(frozen=True, eq=False)
class PointSplit(Samples):
    """N clouds. points: float32 (M, 3), metres, camera axes, about their mean. labels: int64 (N,)."""

    points: Ragged
    labels: Tensor
    units: Tensor
    groups: Tensor
    group_names: tuple[str, ...]
    keys: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def pictures(self, index: Tensor) -> NDArray[np.uint8]:
        """Draw the clouds that int64 `index` (n,) names as the camera sees them: uint8 (n, 96, 96, 3)."""
        return draw_clouds([self.points[i].numpy() for i in index.tolist()])


@dataclass(frozen=True, eq=False)
class ObjectSplit(PointSplit):
    """Clouds of one class each."""

    def descriptors(self) -> Tensor:
        """Describe each cloud by the distances between its points (Osada et al., 2002): float32 (N, 64)."""
        return shape_distribution(self.points)


@dataclass(frozen=True, eq=False)
class PartSplit(PointSplit):
    """Clouds whose points are labelled. parts: int64 (M,), the part of each point."""

    parts: Ragged = field(kw_only=True)


@dataclass(frozen=True)
class PointsView:
    """Clouds about their mean, in camera axes.

    num_points: of a cloud in a batch. min_points: clouds with fewer are left out.
    scale: metres that are 1 for the network, the same for all: size tells objects apart.
    noise: standard deviation of the sensor's noise, metres, drawn anew for each training batch.

    What follows is for clouds of whole objects; a frame with depth is seen as it was taken.
    viewpoints: split -> number of viewpoints of each object. The viewpoints of one split are none of
        another's: spread evenly over all of them together, they are dealt out at random.
    orientation: `any`: from all around, rolled at random about the optical axis; `vertical`: from a ring
        about the vertical at 30 degrees of elevation; `fixed`: as the cloud was stored.
    partial: leave only the points that a camera at `distance` metres sees.
    """

    num_points: int = 512
    min_points: int = 32
    scale: float = 0.1
    noise: float = 0.0
    viewpoints: dict[str, int] = field(default_factory=lambda: {"train": 160, "val": 40, "test": 40})
    orientation: str = "any"
    partial: bool = False
    distance: float = 0.8
    seed: int = 0

    samples: ClassVar[type[Samples]] = ObjectSplit
    augmentation: ClassVar[type] = PointAugmentation
    sees_clouds: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, fits, expected in (
            ("num_points", self.num_points >= 1, "at least 1"),
            ("min_points", self.min_points >= 4, "at least 4"),
            ("scale", 0 < self.scale < math.inf, "more than 0"),
            ("noise", 0 <= self.noise < math.inf, "0 or more"),
            ("distance", 0 < self.distance < math.inf, "more than 0"),
            ("viewpoints", all(n >= 1 for n in self.viewpoints.values()), "1 or more for each split"),
            ("orientation", self.orientation in ORIENTATIONS, " or ".join(ORIENTATIONS)),
            ("seed", self.seed >= 0, "0 or more"),
        ):
            if not fits:
                raise InputError(f"view.{name} is {getattr(self, name)}", expected=expected)

    @property
    def lacking(self) -> str:
        return f"clouds of at least {self.min_points} points"

    def classes(self, source: Any) -> tuple[str, ...]:
        """What a model tells apart: the objects."""
        return tuple(source.classes)

    def statistics(self, samples: PointSplit) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Nothing: points are metres, and stay so."""
        return (), ()

    def cut(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        augmentation: PointAugmentation | None = None,
        num_classes: int = 0,
    ) -> PointCut:
        """Make batches of clouds."""
        return PointCut(self.num_points, self.scale, self.noise, augmentation)

    def rows(self, item: Frame | Cloud, split: str) -> Rows:
        """See a frame's objects, or an object from each of the split's viewpoints."""
        return self._of_frame(item) if isinstance(item, Frame) else self._of_cloud(item, split)

    def _of_frame(self, frame: Frame) -> Rows:
        rng = np.random.default_rng(zlib.crc32(frame.key.encode()))
        keys, clouds, labels = [], [], []
        for index, instance in enumerate(frame.instances):
            points = cloud_from_depth(frame, instance)
            if len(points) >= self.min_points:
                keys.append(f"{frame.key} object {index}")
                clouds.append(self._keep(points, rng)[0])
                labels.append(instance.class_id)
        return Rows(keys, {"labels": np.array(labels, np.int64)}, {"points": clouds})

    def _of_cloud(self, cloud: Cloud, split: str) -> Rows:
        numbers, turns = self.turns(split)
        keys, clouds, kept = [], [], []
        for number, turn in zip(numbers, turns, strict=True):
            rng = np.random.default_rng([self.seed, number, zlib.crc32(cloud.key.encode())])
            points = (cloud.points - cloud.points.mean(0)) @ turn.T + (0, 0, self.distance)
            seen = visible_points(points) if self.partial else np.arange(len(points))
            if len(seen) < self.min_points:
                continue
            chosen, index = self._keep(points[seen], rng)
            keys.append(f"{cloud.key} view {number}")
            clouds.append(chosen)
            kept.append(seen[index])
        return Rows(
            keys,
            {"labels": np.full(len(keys), cloud.class_id, np.int64)},
            {"points": clouds, **self._labels(cloud, kept)},
            units=keys,  # the objects are the same in every split: a viewpoint is what is new
        )

    def _labels(self, cloud: Cloud, kept: list[NDArray[np.int64]]) -> dict[str, list[NDArray[Any]]]:
        """Give the further columns of a cloud's views, of which the points `kept` are left."""
        return {}

    def _keep(
        self, points: Points, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Shuffle points and keep a few times what a batch takes, about their mean; and their indices."""
        index = sample_points(len(points), min(len(points), SPARE * self.num_points), rng)
        chosen = points[index]
        return (chosen - chosen.mean(0)).astype(np.float32), index

    def turns(self, split: str) -> tuple[list[int], NDArray[np.float64]]:
        """Number the split's viewpoints, and give the rotation from object to camera of each, (V, 3, 3)."""
        if split not in self.viewpoints:
            raise InputError(f"view.viewpoints has no {split!r}", expected=", ".join(self.viewpoints))
        total, first = sum(self.viewpoints.values()), 0
        rng = np.random.default_rng(self.seed)
        dealt, rolls = rng.permutation(total), rng.uniform(-np.pi, np.pi, total)
        for name, count in self.viewpoints.items():
            if name == split:
                break
            first += count
        numbers = sorted(dealt[first : first + self.viewpoints[split]].tolist())
        if self.orientation == "fixed":
            return numbers, np.tile(np.eye(3), (len(numbers), 1, 1))
        if self.orientation == "vertical":
            return numbers, np.stack([look_from(2 * np.pi * n / total, np.pi / 6, 0.0) for n in numbers])
        golden = np.pi * (3 - np.sqrt(5))  # Fibonacci lattice: n-th height, n-th golden angle
        return numbers, np.stack(
            [look_from(golden * n, np.arcsin(1 - (2 * n + 1) / total), rolls[n]) for n in numbers]
        )


@dataclass(frozen=True)
class PartsView(PointsView):
    """Clouds whose points carry the number of the part that they lie on, for part segmentation."""

    samples: ClassVar[type[Samples]] = PartSplit

    def classes(self, source: Any) -> tuple[str, ...]:
        """What a model tells apart: the parts. Raises InputError where the source names none."""
        if not getattr(source, "part_names", ()):
            raise InputError(
                "the points have no parts", where=source.name, fix="set data.source.part_names=[...]"
            )
        return tuple(source.part_names)

    def cut(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        augmentation: PointAugmentation | None = None,
        num_classes: int = 0,
    ) -> PartCut:
        """Make batches of clouds with a label a point."""
        return PartCut(self.num_points, self.scale, self.noise, augmentation)

    def _of_frame(self, frame: Frame) -> Rows:
        raise InputError("depth has no part labels", where=frame.key, expected="clouds with parts")

    def _labels(self, cloud: Cloud, kept: list[NDArray[np.int64]]) -> dict[str, list[NDArray[Any]]]:
        if cloud.parts is None:
            raise InputError("no part labels", where=cloud.key, expected="rows x y z [nx ny nz] part")
        return {"parts": [cloud.parts[index] for index in kept]}


def look_from(azimuth: float, elevation: float, roll: float) -> NDArray[np.float64]:
    """Build the rotation (3, 3) from object axes, z up, to those of a camera that looks at it."""
    x = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    towards = np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    )
    level = np.stack([x, np.cross(-towards, x), -towards])  # rows: right, down, forward
    cos, sin = np.cos(roll), np.sin(roll)
    return np.asarray(np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]]) @ level)
