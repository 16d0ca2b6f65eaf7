"""Motions that leave an object looking as it did: its symmetries, discrete and continuous."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeprob.geometry.rotation import axis_angle_to_matrix
from deeprob.geometry.transform import Array, make_transform

STEPS = 36  # turns that stand for a continuous symmetry


@dataclass(frozen=True)
class Symmetries:
    """Motions of an object onto itself, in its own frame, metres.

    discrete: transforms (4, 4) beside the identity. continuous: pairs (axis (3,), a point on it (3,)).
    """

    discrete: tuple[Array, ...] = ()
    continuous: tuple[tuple[Array, Array], ...] = ()

    def transforms(self, steps: int = STEPS) -> Array:
        """List them: float64 (S, 4, 4), the identity first; a continuous one as `steps` turns."""
        found = [np.eye(4), *self.discrete]
        for axis, point in self.continuous:
            turns = [axis_angle_to_matrix(axis, 2 * np.pi * step / steps) for step in range(steps)]
            about = [make_transform(R, point - R @ point) for R in turns]
            found = [turn @ T for T in found for turn in about]
        return np.stack(found)
