"""Poses refined on the frames that they are of: what each becomes, and why some are kept as they are.

mask    of the data set's labels: of the object of that class whose box is nearest
depth   the frame's depth image
rgb     colours under the light that fits best; without a mask, one that the colours make is matched too
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.geometry.mesh import Mesh
from deeprob.metrics import pose
from deeprob.models.pose.by_render import Drawn, Seen
from deeprob.models.pose.colour_mask import with_colour_mask
from deeprob.models.pose.descent import STARTS, STEPS, refined
from deeprob.models.pose.seen import seen_on

TERMS = ("mask", "depth", "rgb")
BEHIND, OUTSIDE = "behind the camera", "outside the picture"
NOTHING, NO_BETTER = "nothing to compare with", "nothing better found"
Floats = NDArray[np.float64]


class Outcome(NamedTuple):
    """What became of an estimate.

    T: (4, 4). kept: why it is still the start, or None. history: the loss at every step, of `drawn` on `seen`
    pictures from coarse to fine. seconds: taken.
    """

    T: Floats
    kept: str | None
    drawn: Drawn
    seen: Sequence[Seen]
    history: Sequence[float]
    seconds: float


@dataclass
class PoseRefiner:
    """Refines poses of a source's objects. terms: of TERMS; empty: all that a frame has."""

    source: Source
    terms: Sequence[str] = ()
    starts: int = STARTS
    sides: tuple[int, ...] = (48, 96)
    steps: tuple[int, ...] = STEPS
    seed: int = 0
    used: Counter[str] = field(default_factory=Counter)
    _drawn: dict[int, Drawn] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [term for term in self.terms if term not in TERMS]
        if unknown:
            raise InputError(f"terms=[{unknown[0]}]", expected=" ".join(TERMS))
        if self.starts < 1 or min(self.sides, default=0) < 8 or min(self.steps, default=0) < 1:
            raise InputError(
                f"starts={self.starts} sides={list(self.sides)} steps={list(self.steps)}",
                expected="starts from 1, sides from 8 pixels and steps from 1",
            )
        if len(self.sides) != len(self.steps):
            raise InputError(f"{len(self.sides)} sides and {len(self.steps)} steps", expected="as many")

    def one(self, frame: Frame, class_id: int, T: Floats) -> Outcome:
        """Refine the pose (4, 4) of an object in a frame. Raises InputError for a frame it cannot be of."""
        clock, K, drawn = time.perf_counter(), camera_of(frame), self.drawn(class_id)

        def kept(reason: str) -> Outcome:
            return Outcome(T, reason, drawn, (), (), time.perf_counter() - clock)

        corners = drawn.vertices.double().numpy() + drawn.middle.double().numpy()
        points = corners @ T[:3, :3].T + T[:3, 3]
        if (points[:, 2] <= 0).any():
            return kept(BEHIND)
        pixels = points @ K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        inside = ((pixels > -0.5) & (pixels < np.array(frame.image.shape[1::-1]) - 0.5)).all(1)
        if not inside.any():
            return kept(OUTSIDE)
        shown = self.shown(frame, class_id, pixels)
        if not shown:
            return kept(NOTHING)
        seen = seen_on(self.sides, T, K, drawn, **shown)
        if "rgb" in shown and "mask" not in shown:
            seen = [with_colour_mask(T, picture, drawn) for picture in seen]
        result = refined(T, seen, drawn, self.steps, self.starts, self.seed)
        self.used.update(list(shown))
        why = NO_BETTER if np.array_equal(result.T, T) else None
        return Outcome(result.T, why, drawn, seen, result.history, time.perf_counter() - clock)

    def shown(self, frame: Frame, class_id: int, pixels: Floats) -> dict[str, NDArray[Any]]:
        """What the frame has of the terms. pixels: (V, 2), where the start has the object's vertices."""
        found: dict[str, NDArray[Any]] = {"rgb": frame.image}
        if frame.depth_m is not None:
            found["depth"] = frame.depth_m
        box = np.concatenate([pixels.min(0), pixels.max(0)])
        masked = [i for i in frame.instances if i.class_id == class_id and i.mask is not None]
        if masked:
            nearest = min(masked, key=lambda i: float(np.abs(i.box_xyxy - box).sum()))
            assert nearest.mask is not None
            found["mask"] = nearest.mask
        return {term: found[term] for term in self.terms or TERMS if term in found}

    def drawn(self, class_id: int) -> Drawn:
        """The mesh of a class as it is drawn, with its colours where these are compared."""
        if class_id not in self._drawn:
            mesh: Mesh = self.source.mesh(class_id)
            diameter = pose.diameter(mesh.vertices)
            if "rgb" in (self.terms or TERMS):
                mesh = self.source.look(class_id)
            self._drawn[class_id] = Drawn.of(mesh, diameter)
        return self._drawn[class_id]

    def check(self, frame: Frame) -> None:
        """Raise InputError where a frame lacks its camera, or what is asked for by name."""
        camera_of(frame)
        has = {"mask": any(i.mask is not None for i in frame.instances), "depth": frame.depth_m is not None}
        for term in self.terms:
            if not has.get(term, True):
                there = " ".join(t for t in TERMS if has.get(t, True))
                raise InputError(f"terms=[{term}], but there is none", where=frame.key, expected=there)


def camera_of(frame: Frame) -> Floats:
    """K (3, 3) of a frame. Raises InputError where there is none, or it is of a picture of another size."""
    if frame.K is None:
        raise InputError("no camera matrix", where=frame.key)
    height, width = frame.image.shape[:2]
    u, v = frame.K[0, 2], frame.K[1, 2]
    if not (0 <= u < width and 0 <= v < height):
        raise InputError(
            f"the camera's middle ({u:g}, {v:g}) lies outside of its picture, {width} x {height}",
            where=frame.key,
            expected="K of a picture of this size",
        )
    return frame.K
