"""Part segmentation of point clouds; metrics are functions of sums over shapes, as those of classification.

    instance_miou   mean over shapes of the mean IoU over the parts of the shape's category; a part that is
    neither
                    there nor predicted counts 1 (Yi et al., A scalable active framework for region
                    annotation in 3D shape collections, SIGGRAPH Asia 2016, as Qi et al., PointNet, CVPR
                    2017 report it)
    category_miou   mean over categories of the mean over their shapes
    point_accuracy  share of points whose part is right

Each shape adds, for each of K categories, its IoU and 1, and for each of C parts the points that are right,
labelled and predicted. The IoU of a part over all shapes is right / (labelled + predicted - right).

Classification of whole clouds is measured by `deeprob.metrics.classification`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.metrics.classification import Floats

METRICS = ("instance_miou", "category_miou", "point_accuracy")


def shape_iou(labels: NDArray[np.integer], predicted: NDArray[np.integer], parts: Sequence[int]) -> float:
    """Mean IoU over `parts` of one shape; labels, predicted: (P,). Raises InputError for another label."""
    if labels.shape != predicted.shape or labels.ndim != 1:
        raise InputError(
            f"labels {labels.shape} and prediction {predicted.shape}",
            where="part segmentation",
            expected="(P,) both",
        )
    foreign = np.setdiff1d(labels, parts)
    if foreign.size:
        raise InputError(f"part {foreign[0]}", where="part segmentation", expected=f"one of {list(parts)}")
    ious = []
    for part in parts:
        union = ((labels == part) | (predicted == part)).sum()
        ious.append(((labels == part) & (predicted == part)).sum() / union if union else 1.0)
    return float(np.mean(ious))


class PartSegmentation:
    """Metrics of a stream of shapes, in memory that does not grow.

    parts: category -> its part labels. num_parts: C, of all categories together.
    """

    def __init__(self, parts: Mapping[str, Sequence[int]], num_parts: int | None = None) -> None:
        self.parts = parts
        self.num_parts = (
            max(max(p, default=-1) for p in parts.values()) + 1 if num_parts is None else num_parts
        )
        self.sums: Floats = np.zeros(2 * len(parts) + 3 * self.num_parts)

    def shape_sums(
        self, category: str, labels: NDArray[np.integer], predicted: NDArray[np.integer]
    ) -> Floats:
        """Return what one shape of a category adds, float64 (2 K + 3 C,); labels, predicted: (P,).

        Raises InputError for a category or a label that does not belong there.
        """
        if category not in self.parts:
            raise InputError(
                f"category {category!r}", where="part segmentation", expected=", ".join(self.parts)
            )
        sums = np.zeros_like(self.sums)
        number = list(self.parts).index(category)
        sums[number] = shape_iou(labels, predicted, self.parts[category])
        sums[len(self.parts) + number] = 1
        counted = (labels[labels == predicted], labels, predicted)
        sums[2 * len(self.parts) :] = np.concatenate(
            [np.bincount(values, minlength=self.num_parts) for values in counted]
        )
        return sums

    def metrics_of_sums(self, sums: Floats) -> Floats:
        """Metrics float64 (..., len(METRICS)) of sums (..., 2 K + 3 C); NaN where no shape was summed."""
        iou, shapes, right, labelled, _ = self._split(sums)
        seen = shapes > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            of_category = np.where(seen, iou / np.where(seen, shapes, 1), 0.0).sum(-1) / seen.sum(-1)
            instance = iou.sum(-1) / shapes.sum(-1)
            accuracy = right.sum(-1) / labelled.sum(-1)
        return np.stack([instance, of_category, accuracy], axis=-1)

    def part_iou(self, sums: Floats) -> Floats:
        """IoU of each part over all points, float64 (..., C); NaN where it is neither there nor predicted."""
        _, _, right, labelled, predicted = self._split(sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(right / (labelled + predicted - right))

    def update(self, category: str, labels: NDArray[np.integer], predicted: NDArray[np.integer]) -> None:
        """Add one shape of a category; labels, predicted: (P,)."""
        self.sums += self.shape_sums(category, labels, predicted)

    def merge(self, other: PartSegmentation) -> None:
        """Add what another stream has seen."""
        self.sums += other.sums

    def compute(self) -> dict[str, float]:
        """Return every metric by name; NaN before the first shape."""
        return dict(zip(METRICS, self.metrics_of_sums(self.sums).tolist(), strict=True))

    def _split(self, sums: Floats) -> tuple[Floats, ...]:
        num_categories = len(self.parts)
        ends = np.cumsum([num_categories, num_categories, self.num_parts, self.num_parts])
        return tuple(np.split(sums, ends, axis=-1))
