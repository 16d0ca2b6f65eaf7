"""Parts of points beside their labels, as scores over independent units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deeprob.metrics.classification import Floats, Integers
from deeprob.metrics.points import PartSegmentation
from deeprob.metrics.scores import SummedScores
from deeprob.tasks.part_segmentation.predictions import scores_of
from deeprob.tasks.part_segmentation.view import PartSamples


class PartsMeter:
    """Collects what each shape adds to the sums. categories: names; parts: category -> its parts."""

    def __init__(self, categories: Sequence[str], parts: Mapping[str, Sequence[int]], num_parts: int) -> None:
        self.categories = categories
        self.metric = PartSegmentation(parts, num_parts)
        self._rows: list[Floats] = []
        self._units: list[int] = []

    def update(self, predicted: Integers, truths: tuple[Integers, PartSamples]) -> None:
        """Add parts int64 (B, P) of B shapes; truths: the labels (B, P), and the samples."""
        labels, samples = truths
        for category, unit, label, answer in zip(
            samples.labels.tolist(), samples.units.tolist(), labels, predicted, strict=True
        ):
            self._rows.append(self.metric.shape_sums(self.categories[category], label, answer))
            self._units.append(unit)

    def merge(self, other: PartsMeter) -> None:
        """Add the shapes of another process."""
        self._rows += other._rows
        self._units += other._units

    def shape_scores(self) -> Floats:
        """The mean IoU of each shape, float64 (N,)."""
        return np.asarray(np.stack(self._rows)[:, : len(self.categories)].sum(1))

    def scores(self) -> SummedScores:
        """Every metric of deeprob.metrics.points."""
        rows = np.stack(self._rows) if self._rows else np.zeros((0, len(self.metric.sums)))
        return scores_of(self.metric, rows, np.array(self._units, np.int64))


def parts_of(categories: Sequence[str], *splits: PartSamples) -> dict[str, list[int]]:
    """The parts that the shapes of each category hold, over the splits."""
    found: dict[str, set[int]] = {name: set() for name in categories}
    for split in splits:
        category = split.labels.repeat_interleave(split.parts.counts).numpy()
        for number, part in np.unique(np.stack([category, split.parts.values.numpy()], 1), axis=0).tolist():
            found[categories[number]].add(part)
    return {name: sorted(parts) for name, parts in found.items()}
