"""Hough voting for centres: the pixels of an object each say in which direction its centre lies.

    p_i (u, v) a pixel     d_i unit direction     its votes: one a column (row) along the ray p_i + a d_i,
                                                   a > 0, where the ray runs more along u (v)
    peak        the cell with most votes
    inliers     pixels whose direction is the peak's:  d_i . (c - p_i) / |c - p_i| > 0.9
    centre      argmin_c sum over the inliers of (n_i . (c - p_i))^2,  n_i across d_i

A decode step: it has no gradient. Source: Xiang et al., PoseCNN (2018), section III-B; the least-squares
centre: the intersection of lines, which is finer than a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Loop = TypeVar("Loop", bound=Callable[..., object])

AGREE = 0.9  # cosine between a pixel's direction and the one to the centre
NEAR = 1.5  # cells: so near the centre, a direction says nothing
BORDER = 0.25  # of the map's sides: a centre may lie so far outside
ROUNDS = 3  # of choosing inliers and solving


class Centre(NamedTuple):
    """Where the lines of a region meet. at: (2,), (u, v) in cells. inliers: bool (N,). votes: of the peak."""

    at: Floats
    inliers: NDArray[np.bool_]
    votes: int


def _compiled(function: Loop) -> Loop:
    compiled: Loop = njit(cache=True, nogil=True)(function)
    return compiled


@_compiled
def cast_votes(points: Floats, directions: Floats, votes: NDArray[np.int64], left: int, top: int) -> None:
    """Add the votes of N pixels to `votes` (rows, columns), whose first cell is (left, top)."""
    rows, columns = votes.shape
    for i in range(len(points)):
        a = 0 if abs(directions[i, 0]) >= abs(directions[i, 1]) else 1  # the axis that it walks along
        along, across = directions[i, a], directions[i, 1 - a]
        if along == 0.0:
            continue
        step, slope = (1 if along > 0 else -1), across / along
        first, last = (left, left + columns - 1) if a == 0 else (top, top + rows - 1)
        at = int(points[i, a]) + step
        while first <= at <= last:
            other = int(np.floor(points[i, 1 - a] + (at - points[i, a]) * slope + 0.5))
            row, column = (other - top, at - left) if a == 0 else (at - top, other - left)
            if row < 0 or row >= rows or column < 0 or column >= columns:
                break
            votes[row, column] += 1
            at += step


def find_centre(points: Floats, directions: Floats, size: tuple[int, int]) -> Centre:
    """Where the rays of pixels points (N, 2), whole (u, v), along directions (N, 2) meet.

    size: height and width of the map in cells.
    """
    height, width = size
    left, top = -int(BORDER * width), -int(BORDER * height)
    votes = np.zeros((height - 2 * top, width - 2 * left), np.int64)
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    unit = directions / np.maximum(length, 1e-9)
    cast_votes(np.ascontiguousarray(points, np.float64), np.ascontiguousarray(unit), votes, left, top)
    row, column = np.unravel_index(int(votes.argmax()), votes.shape)
    most = int(votes[row, column])
    centre = np.array([column + left, row + top], np.float64) if most else points.mean(0)
    inliers = agreeing(points, unit, centre)
    for _ in range(ROUNDS):
        met = intersection(points[inliers], unit[inliers])
        if met is None:
            break
        now = agreeing(points, unit, met)
        if now.sum() < inliers.sum() / 2:  # the lines lead elsewhere: the peak stands
            break
        centre, same, inliers = met, bool((now == inliers).all()), now
        if same:
            break
    return Centre(centre, inliers, most)


def agreeing(points: Floats, unit: Floats, centre: Floats) -> NDArray[np.bool_]:
    """Which pixels (N,) point at a centre, or lie on it."""
    to = centre - points
    length = np.linalg.norm(to, axis=1)
    return np.asarray(((to * unit).sum(1) > AGREE * length) | (length < NEAR))


def intersection(points: Floats, unit: Floats) -> Floats | None:
    """The point (2,) nearest to all lines; None where they are too few or run alike."""
    if len(points) < 2:
        return None
    across = np.stack([-unit[:, 1], unit[:, 0]], 1)
    A = across.T @ across
    if np.linalg.eigvalsh(A)[0] < 1e-3 * len(points):
        return None
    return np.asarray(np.linalg.solve(A, across.T @ (across * points).sum(1)))
