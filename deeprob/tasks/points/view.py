"""Clouds of points: of objects seen from chosen viewpoints, or cut from frames with depth."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.augment import stream
from deeprob.data.batches.samples import Ragged, Rows, Samples
from deeprob.data.cloud_sheet import draw_clouds
from deeprob.data.frame import Frame
from deeprob.data.readers.points import Cloud, Points, cloud_from_depth, sample_points, visible_points
from deeprob.data.settings import PointAugmentation
from deeprob.errors import InputError
from deeprob.tasks.points.clouds import augment_points, shape_distribution, spread

ORIENTATIONS = ("any", "vertical", "fixed")
SPARE = 4  # points kept of a cloud for each one in a batch


@dataclass(frozen=True, eq=False)
class PointSamples(Samples):
    """N clouds. points: float32 (M, 3), metres, camera axes, about their mean. labels: int64 (N,)."""

    points: Ragged
    labels: Tensor

    @property
    def class_ids(self) -> Tensor:
        """The class of each cloud."""
        return self.labels

    def pictures(self, index: Tensor) -> NDArray[np.uint8]:
        """Draw the clouds that int64 `index` (n,) names as the camera sees them: uint8 (n, 96, 96, 3)."""
        return draw_clouds([self.points[i].numpy() for i in index.tolist()])


@dataclass(frozen=True, eq=False)
class ObjectSamples(PointSamples):
    """Clouds of one class each."""

    @property
    def attributes(self) -> Tensor:
        """What errors are grouped by: float32 (0, 3), since nothing is known of a cloud."""
        return torch.empty(0, 3)

    def descriptors(self) -> Tensor:
        """Describe each cloud by the distances between its points (Osada et al., 2002): float32 (N, 64)."""
        return shape_distribution(self.points)


class PointBatch(NamedTuple):
    """Point clouds. points: float32 (B, P, 3). labels: int64 (B,) of clouds, or (B, P) of their points."""

    points: Tensor
    labels: Tensor
    indices: Tensor


@dataclass(frozen=True)
class PointCollate:
    """How clouds become batches: see deeprob.tasks.points.view.PointsView; no augmentation for evaluation."""

    num_points: int
    scale: float
    noise: float = 0.0
    augmentation: PointAugmentation | None = None

    def __call__(self, split: Any, indices: Tensor, generator: torch.Generator) -> PointBatch:
        points, _ = self.sample(split, indices, generator)
        return PointBatch(points, split.labels[indices], indices)

    def sample(
        self, split: PointSamples, indices: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Take num_points of each cloud, float32 (B, P, 3), 1 being `scale` metres; and their rows (B, P)."""
        training = self.augmentation is not None
        rows = spread(split.points, indices, self.num_points, generator if training else None)
        points = split.points.values[rows]
        if self.noise:
            points = points + self.noise * self._noise(points, indices, generator)
        if self.augmentation is not None:
            points, source = augment_points(points, self.augmentation, generator)
            rows = rows.gather(1, source)
        return points / self.scale, rows

    def _noise(self, points: Tensor, indices: Tensor, generator: torch.Generator) -> Tensor:
        if self.augmentation is not None:
            return torch.randn(points.shape, generator=generator)
        # For evaluation a sample's noise is its own, whatever batch it comes in.
        return torch.stack([torch.randn(points.shape[1:], generator=stream(i)) for i in indices.tolist()])


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

    samples: ClassVar[type[Samples]] = ObjectSamples
    task: ClassVar[str] = "deeprob.tasks.classification.task.Classification"
    augmentation: ClassVar[type] = PointAugmentation
    sees_clouds: ClassVar[bool] = True
    boxes: ClassVar[str] = ""

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

    def statistics(self, samples: PointSamples) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Nothing: points are metres, and stay so."""
        return (), ()

    def collate(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        augmentation: PointAugmentation | None = None,
        num_classes: int = 0,
    ) -> PointCollate:
        """Make batches of clouds."""
        return PointCollate(self.num_points, self.scale, self.noise, augmentation)

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

    def described(self) -> dict[str, Any]:
        """How a cloud is made for the network, for those who do it without deeprob."""
        return {
            "points": self.num_points,
            "scale": self.scale,
            "how": "points in camera axes, metres, about their mean; `points` of them, spread over the cloud",
        }

    def as_taken(self, split: str) -> PointsView:
        """The same view of clouds that a sensor took: as they are, in the split of this name."""
        return replace(self, viewpoints={split: 1}, orientation="fixed", partial=False, noise=0.0)

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


def look_from(azimuth: float, elevation: float, roll: float) -> NDArray[np.float64]:
    """Build the rotation (3, 3) from object axes, z up, to those of a camera that looks at it."""
    x = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    towards = np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
    )
    level = np.stack([x, np.cross(-towards, x), -towards])  # rows: right, down, forward
    cos, sin = np.cos(roll), np.sin(roll)
    return np.asarray(np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]]) @ level)
