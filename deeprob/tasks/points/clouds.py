"""Point clouds: sampled, augmented all at once, described by their distances, drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from deeprob.data.batches.augment import stream
from deeprob.data.batches.samples import Ragged
from deeprob.data.settings import PointAugmentation

PAIRS, BINS, REACH = 4096, 64, 0.32  # of the shape distribution; metres


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
