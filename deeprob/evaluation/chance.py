"""A baseline that looks at no image: the labels of another image of the split, drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeprob.data.frame import Frame
from deeprob.data.predictions.files import Pose
from deeprob.tasks.detection import meter as boxes
from deeprob.tasks.pose import meter as pose
from deeprob.tasks.segmentation import meter as pixels


class Chance:
    """Draws from the frames seen so far: all of a split are to be noted before the first is asked for.

    A pose is that of the same object in another image, for a method is told which objects there are; boxes,
    masks and label images are those of another image, whatever is in it. Labels of the same independent unit
    are used only where there is one unit alone.
    """

    def __init__(self, task: str, units: str, seed: int) -> None:
        self._task, self._units = task, units
        self._rng = np.random.default_rng([seed, 2])
        self._frames: list[tuple[int, str, tuple[int, ...]]] = []
        self._poses: dict[int, list[tuple[str, int, Pose]]] = {}

    def note(self, index: int, frame: Frame) -> None:
        """Remember a frame: its objects' poses, or where it is found again."""
        unit = frame.group if self._units == "group" else frame.key
        self._frames.append((index, unit, frame.image.shape))
        if self._task == "pose":
            for estimate in pose.truths_of(frame):
                self._poses.setdefault(estimate.class_id, []).append((unit, index, estimate))

    def answer(self, index: int, frame: Frame, frames: Any) -> Any:
        """What chance says about a frame. frames: of the split."""
        if self._task == "pose":
            return self._drawn_poses(index, frame)
        other = self._other(index, frame, frames)
        if self._task == "segmentation":
            return np.zeros(frame.image.shape[:2], np.int64) if other is None else pixels.label_image(other)
        return [] if other is None else list(boxes.truths_of(other, self._task == "instance_segmentation"))

    def _drawn_poses(self, index: int, frame: Frame) -> list[Pose]:
        unit = frame.group if self._units == "group" else frame.key
        found = []
        for target in pose.truths_of(frame):
            known = self._poses[target.class_id]
            others = [e for of, _, e in known if of != unit] or [e for _, i, e in known if i != index]
            if others:
                found.append(others[int(self._rng.integers(len(others)))])
        return found

    def _other(self, index: int, frame: Frame, frames: Any) -> Frame | None:
        unit = frame.group if self._units == "group" else frame.key
        same_size = [(i, of) for i, of, shape in self._frames if shape == frame.image.shape and i != index]
        others = [i for i, of in same_size if of != unit] or [i for i, _ in same_size]
        if not others:
            return None
        chosen: Frame = frames[others[int(self._rng.integers(len(others)))]]
        return chosen
