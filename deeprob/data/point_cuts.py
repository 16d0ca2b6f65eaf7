"""Batches of point clouds: sampled, with sensor noise, augmented all at once; and what describes a cloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.augment import stream
from deeprob.data.batches import PointBatch
from deeprob.data.samples import Ragged
from deeprob.data.settings import PointAugmentation

if TYPE_CHECKING:
    from deeprob.data.point_views import PointSplit

PICTURE = 96  # pixels a side
PAIRS, BINS, REACH = 4096, 64, 0.32  # of the shape distribution; metres


@dataclass(frozen=True)
class PointCut:
    """How clouds become batches: see deeprob.data.point_views.PointsView; no augmentation for evaluation."""

    num_points: int
    scale: float
    noise: float = 0.0
    augmentation: PointAugmentation | None = None

    def __call__(self, split: Any, indices: Tensor, generator: torch.Generator) -> PointBatch:
        points, _ = self.sample(split, indices, generator)
        return PointBatch(points, split.labels[indices], indices)

    def sample(self, split: PointSplit, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
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


class PartCut(PointCut):
    """Batches whose labels are the parts of the points."""

    def __call__(self, split: Any, indices: Tensor, generator: torch.Generator) -> PointBatch:
        points, rows = self.sample(split, indices, generator)
        return PointBatch(points, split.parts.values[rows], indices)


def spread(clouds: Ragged, indices: Tensor, num_points: int, generator: torch.Generator | None) -> Tensor:
    """Choose rows of clouds, int64 (B, num_points): one from each of num_points equal stretches of a cloud.

    At a random place in its stretch, or in the middle without a generator. Clouds lie there shuffled, so
    every point is equally likely, and few are taken twice where there are enough.
    """
    counts = clouds.counts[indices]
    place = torch.arange(num_points) + (
        0.5 if generator is None else torch.rand(len(indices), num_points, generator=generator)
    )
    within = (place * (counts[:, None] / num_points)).long()
    return clouds.offsets[indices][:, None] + within.minimum(counts[:, None] - 1)


def augment_points(points: Tensor, a: PointAugmentation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Augment clouds float32 (B, P, 3); and say which point each one was, int64 (B, P)."""
    batch, count, _ = points.shape
    draws = 2 * torch.rand(6, batch, generator=generator) - 1
    axis = {"optical": torch.tensor([0.0, 0, 1]), "vertical": torch.tensor([0.0, 1, 0])}.get(a.axis)
    axes = torch.randn(batch, 3, generator=generator) if axis is None else axis.expand(batch, 3)
    turn = rotations(torch.nn.functional.normalize(axes, dim=1), a.rotate * draws[0])
    moved = points @ (turn * ((1 + a.scale) ** draws[1])[:, None, None]).mT
    moved = moved + a.shift * draws[2:5].T[:, None]
    if a.jitter:
        moved = moved + a.jitter * torch.randn(moved.shape, generator=generator)
    source = torch.arange(count).expand(batch, count)
    if a.dropout:
        # The points lie there in random order: the first stands in for those dropped at the end.
        kept = (count * (1 - a.dropout * draws[5].abs())).long().clamp(min=1)
        source = torch.where(source < kept[:, None], source, 0)
        moved = moved.gather(1, source[..., None].expand(-1, -1, 3))
    return moved, source


def rotations(axes: Tensor, angles: Tensor) -> Tensor:
    """Build rotations (B, 3, 3) about unit axes (B, 3): I + sin K + (1 - cos) K^2 (Rodrigues)."""
    x, y, z = axes.unbind(1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
    sin, cos = angles.sin()[:, None, None], angles.cos()[:, None, None]
    return torch.eye(3) + sin * K + (1 - cos) * (K @ K)


def shape_distribution(clouds: Ragged) -> Tensor:
    """Histogram of the distances between random pairs of points of each cloud, float32 (N, BINS), sum 1.

    It does not change with rotation, nor with which points stand for the surface. Source: Osada, Funkhouser,
    Chazelle, Dobkin, Shape distributions, ACM Transactions on Graphics 21(4), 2002 (D2).
    """
    found = torch.empty(len(clouds), BINS)
    for index in range(len(clouds)):
        points = clouds[index]
        pairs = torch.randint(len(points), (2, PAIRS), generator=stream(index))
        distances = (points[pairs[0]] - points[pairs[1]]).norm(dim=1)
        found[index] = torch.histc(distances, BINS, 0, REACH) / PAIRS
    return found


def draw_clouds(
    clouds: Sequence[NDArray[np.float32]],
    colours: Sequence[NDArray[np.uint8]] | None = None,
    size: int = PICTURE,
) -> NDArray[np.uint8]:
    """Draw clouds (P, 3) as the camera sees them: uint8 (n, size, size, 3).

    colours: of the points of each, uint8 (P, 3); None draws near points dark and far ones light.
    """
    pictures = np.full((len(clouds), size, size, 3), 255, np.uint8)
    near, far = np.array([20, 60, 120]), np.array([170, 205, 235])
    for number, (picture, points) in enumerate(zip(pictures, clouds, strict=True)):
        centred = points - (points.min(0) + points.max(0)) / 2
        reach = max(float(np.abs(centred).max()), 1e-9)
        column, row = np.rint((centred[:, :2] / reach * 0.46 + 0.5) * (size - 1)).astype(int).T
        depth = (centred[:, 2:] / reach + 1) / 2
        colour = (near + depth * (far - near)).astype(np.uint8) if colours is None else colours[number]
        for i in np.argsort(-centred[:, 2]):  # the nearest last: it hides what is behind
            picture[row[i] : row[i] + 2, column[i] : column[i] + 2] = colour[i]
    return pictures
