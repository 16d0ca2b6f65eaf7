"""Label maps evaluated: the class of each pixel, 0 is background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from deeprob.data.frame import Frame
from deeprob.errors import InputError
from deeprob.metrics import segmentation
from deeprob.metrics.entries import class_entries
from deeprob.metrics.scores import Evaluation, SummedScores, units_of
from deeprob.metrics.segmentation import METRICS
from deeprob.metrics.statistics import bootstrap, sums_by_unit
from deeprob.page import figures
from deeprob.page.overlays import NUM_WORST
from deeprob.tasks.segmentation import analysis
from deeprob.tasks.segmentation.labels import IGNORED, label_map_of

PER_CLASS = ("class_iou",)


@dataclass
class LabelMapMeter:
    """Collects the label maps predicted for frames. classes: with the background first."""

    classes: Sequence[str]
    unit: str

    def __post_init__(self) -> None:
        self._units: list[str] = []
        self._keys: list[str] = []
        self._indices: list[int] = []  # of the frames in their split
        self._sums: list[NDArray[np.float64]] = []
        self._confusion = np.zeros((len(self.classes),) * 2, np.int64)
        self._near = np.zeros((2, len(analysis.NEAR)), np.int64)

    def add(self, index: int, frame: Frame, predicted: NDArray[np.int64]) -> None:
        """Add one frame. Raises InputError for a class that is not there, or objects without masks."""
        try:
            labels = label_map_of(frame)
            sums = segmentation.image_sums(labels, predicted, len(self.classes), ignore=IGNORED)
        except InputError as error:
            raise InputError(str(error), where=frame.key) from None
        self._sums.append(sums)
        self._confusion += analysis.confusion(labels, predicted, len(self.classes))
        self._near += analysis.by_distance(labels, predicted)
        self._units.append(frame.group if self.unit == "group" else frame.key)
        self._keys.append(frame.key)
        self._indices.append(index)

    def update(self, predictions: Sequence[NDArray[np.int64]], truths: Sequence[Frame]) -> None:
        """Add some frames."""
        for index, (predicted, frame) in enumerate(zip(predictions, truths, strict=True)):
            self.add(index, frame, predicted)

    def merge(self, other: LabelMapMeter) -> None:
        """Add the frames of another process."""
        self._sums += other._sums
        self._confusion += other._confusion
        self._near += other._near
        self._units += other._units
        self._keys += other._keys
        self._indices += other._indices

    def scores(self) -> SummedScores:
        """Every metric of deeprob.metrics.segmentation."""
        sums = sums_by_unit(scipy.sparse.csr_array(np.stack(self._sums)), units_of(self._units))
        return SummedScores(METRICS, sums, segmentation.metrics_of_sums, (len(self._keys),) * len(METRICS))

    def evaluation(self, *, samples: int, seed: int, frames: Any, answer: Any) -> Evaluation:
        """All numbers. frames: of the split; answer: what was predicted for each, to draw the worst."""
        scores = self.scores()
        sums = scores.sums
        of_classes = bootstrap(sums, segmentation.class_iou, samples=samples, seed=seed)
        total = np.asarray(sums.sum(axis=0)).reshape(segmentation.PARTS, -1)
        images = np.sum([np.split(s, segmentation.PARTS)[1] > 0 for s in self._sums], axis=0)
        per_class = class_entries(
            of_classes, self.classes, PER_CLASS, np.where(total[1] + total[2] > 0, images, 0)
        )
        rows = [
            (name, found["class_iou"]["value"], found["class_iou"]["ci95"])
            for name, found in per_class.items()
        ]
        drawing = figures.intervals_chart(rows, "IoU", name="class-iou", lead=False)
        right = np.array(
            [
                s[: len(self.classes)].sum() / max(s[len(self.classes) : 2 * len(self.classes)].sum(), 1)
                for s in self._sums
            ]
        )
        worst = []
        for i in np.argsort(right, kind="stable")[:NUM_WORST]:
            if right[i] == 1:
                break
            frame = frames[self._indices[i]]
            image = analysis.beside(frame.image, label_map_of(frame), answer(self._indices[i], frame))
            said = f"{100 * (1 - right[i]):.1f} % wrong"
            worst.append(
                {
                    "image": image,
                    "said": said,
                    "of": frame.key,
                    "key": frame.key,
                    "alt": f"{frame.key}, {said}",
                }
            )
        return Evaluation(
            scores,
            per_class,
            drawings={
                "iou": (drawing, "IoU of each class, with 95 % intervals."),
                **analysis.drawings(self._confusion, self._near, self.classes),
            },
            worst=worst,
            more={
                "most_mistaken": analysis.most_mistaken(self._confusion, self.classes),
                "by_boundary_distance": {
                    name: {"pixels": int(pixels), "wrong": int(wrong)}
                    for name, pixels, wrong in zip(analysis.NEAR, *self._near, strict=True)
                },
            },
        )
