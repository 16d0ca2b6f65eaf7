"""Labels of another image as poses: the baseline that every data set has."""

from __future__ import annotations

from typing import Any

from deeprob.data.frame import Frame
from deeprob.data.predictions.files import Pose as Estimate
from deeprob.tasks.frames import Chance, FrameTask
from deeprob.tasks.pose.meter import truths_of


class PoseChance(Chance):
    """The pose of the same object in another image: a method is told which objects there are.

    Of an object that only one of several independent units shows, nothing is known elsewhere: no estimate.
    Its other images there may be nearly this one.
    """

    def __init__(self, kind: type[FrameTask], unit: str, seed: int) -> None:
        super().__init__(kind, unit, seed)
        self._poses: dict[int, list[tuple[str, int, Estimate]]] = {}
        self._units: set[str] = set()

    def note(self, index: int, frame: Frame) -> None:
        self._units.add(self.unit_of(frame))
        for estimate in truths_of(frame):
            self._poses.setdefault(estimate.class_id, []).append((self.unit_of(frame), index, estimate))

    def predict(self, index: int, frame: Frame, frames: Any) -> list[Estimate]:
        unit, found = self.unit_of(frame), []
        for target in truths_of(frame):
            known = self._poses[target.class_id]
            others = [e for of, _, e in known if of != unit]
            if len(self._units) == 1:
                others = [e for _, i, e in known if i != index]
            if others:
                found.append(others[int(self.rng.integers(len(others)))])
        return found
