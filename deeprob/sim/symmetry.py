"""Symmetries that a mesh may have: the shape laid on itself under turns about its axes.

A turn is proposed where the turned surface lies nearly everywhere within a small share of the diameter of the
surface itself. Only the shape is looked at: what is printed on it may tell its sides apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deeprob.geometry.mesh import Mesh
from deeprob.geometry.rotation import axis_angle_to_matrix
from deeprob.geometry.symmetry import Symmetries
from deeprob.geometry.transform import make_transform
from deeprob.metrics.pose import diameter

DENSE, TRIED = 30_000, 1500  # points of the surface, and those that are turned
TOLERANCE = 0.02  # of the diameter: that the farthest of TRIED points but one in a hundred may lie off
FOLDS = (8, 6, 5, 4, 3, 2)
ODD_ANGLES = (0.3, 0.9, 1.7, 2.6)  # radians; what fits all of them fits any
MOST = 24  # discrete symmetries that are written down

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Proposal:
    """What a mesh's shape is symmetric under, and a line for each turn: how far off it is."""

    symmetries: Symmetries
    told: tuple[str, ...]


def propose(mesh: Mesh, tolerance: float = TOLERANCE, seed: int = 0) -> Proposal:
    """Compare a mesh with itself under turns about the axes of its frame, of its box and of its inertia."""
    dense = surface_points(mesh, DENSE, seed)
    across, tree = diameter(mesh.vertices), cKDTree(dense)
    rng = np.random.default_rng(seed)
    middle, moment = _moments(mesh)
    tried = dense[rng.choice(len(dense), TRIED, replace=False)]

    def deviation(R: Floats) -> float:
        distance, _ = tree.query((tried - middle) @ R.T + middle)
        return float(np.quantile(distance, 0.99) / across)

    continuous: list[tuple[Floats, Floats]] = []
    turns: list[Floats] = []
    told: list[str] = []
    for axis in _axes(moment):
        worst = max(deviation(axis_angle_to_matrix(axis, angle)) for angle in ODD_ANGLES)
        named = " ".join(f"{a:.2f}" for a in axis)
        if worst < tolerance:
            continuous.append((axis, middle))
            told.append(f"any turn about [{named}]: {worst:.1%} of the diameter off")
            continue
        for fold in FOLDS:
            off = deviation(axis_angle_to_matrix(axis, 2 * np.pi / fold))
            if off < tolerance:
                turns += [axis_angle_to_matrix(axis, 2 * np.pi * k / fold) for k in range(1, fold)]
                told.append(f"1/{fold} of a turn about [{named}]: {off:.1%} of the diameter off")
                break
    if continuous:  # beside turns about the axis there can be one that swaps its ends
        axis = continuous[0][0]
        turns = [R for R in turns if float(axis @ R @ axis) < -1 + 1e-3][:1]
    else:
        turns = _closed(turns)
    about = tuple(make_transform(R, middle - R @ middle) for R in turns)
    return Proposal(Symmetries(about, tuple(continuous[:1])), tuple(told))


def surface_points(mesh: Mesh, count: int, seed: int) -> Floats:
    """Points (count, 3) drawn evenly from a mesh's surface."""
    rng = np.random.default_rng(seed)
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(area), count, p=area / area.sum())
    u, v = rng.uniform(size=(2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return np.asarray(a[face] + u * (b[face] - a[face]) + v * (c[face] - a[face]))


def yaml_lines(name: str, symmetries: Symmetries) -> list[str]:
    """The entry of an object in objects.yaml; nothing where it has no symmetry."""
    if not symmetries.discrete and not symmetries.continuous:
        return []
    lines = [f"{name}:"]
    if symmetries.continuous:
        (axis, point), *_ = symmetries.continuous
        lines.append("  symmetries_continuous:")
        lines.append(f"    - {{axis: {_row(axis)}, offset: {_row(point)}}}")
    if symmetries.discrete:
        lines.append("  symmetries_discrete:")
        lines += [f"    - {_row(T.reshape(-1))}" for T in symmetries.discrete]
    return lines


def _row(values: Floats) -> str:
    return f"[{', '.join(f'{v:.6g}' for v in np.where(np.abs(values) < 1e-9, 0.0, values))}]"


def _moments(mesh: Mesh) -> tuple[Floats, Floats]:
    """The middle (3,) of a mesh's surface, and the second moment (3, 3) of its points about it."""
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    share, centres = area / area.sum(), corners.mean(1)
    middle = share @ centres
    corners, centres = corners - middle, centres - middle
    # of a triangle: (v1 v1^T + v2 v2^T + v3 v3^T + 9 c c^T) / 12
    moment = np.einsum("f,fki,fkj->ij", share, corners, corners)
    return middle, (moment + 9 * np.einsum("f,fi,fj->ij", share, centres, centres)) / 12


def _axes(moment: Floats) -> list[Floats]:
    """Axes to turn about: of the frame, and of the second moment where those are others.

    Where two of its values are the same, any axis across the third is one of its axes, and says nothing.
    """
    found = list(np.eye(3))
    values, directions = np.linalg.eigh(moment)
    for k, axis in enumerate(directions.T):
        alone = np.delete(np.abs(values - values[k]), k).min() > 0.02 * values[-1]
        if alone and max(abs(float(axis @ known)) for known in found) < np.cos(np.radians(3)):
            found.append(axis)
    return found


def _closed(turns: list[Floats]) -> list[Floats]:
    """All products of some rotations but the identity, as far as there are few."""
    found: list[Floats] = []
    waiting = list(turns)
    while waiting and len(found) < MOST:
        R = waiting.pop(0)
        if np.trace(R) > 3 - 1e-3 or any(np.abs(R - known).max() < 0.1 for known in found):
            continue
        found.append(R)
        waiting += [R @ other for other in turns]
    return found
