"""Part segmentation of point clouds.

    instance_miou   mean over shapes of the mean IoU over the parts of the shape's category; a part that is
    neither
                    there nor predicted counts 1 (Yi et al., A scalable active framework for region
                    annotation in 3D shape collections, SIGGRAPH Asia 2016, as Qi et al., PointNet, CVPR
                    2017 report it)
    category_miou   mean over categories of the mean over their shapes
    point_accuracy  share of points whose part is right

Classification of whole clouds is measured by `deeprob.evaluation.metrics.classification`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError

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
    """Metrics of a stream of shapes, in memory that does not grow. parts: category -> its part labels."""

    def __init__(self, parts: Mapping[str, Sequence[int]]) -> None:
        self.parts = parts
        self.sums = {category: np.zeros(4) for category in parts}  # IoU, shapes, points right, points

    def update(self, category: str, labels: NDArray[np.integer], predicted: NDArray[np.integer]) -> None:
        """Add one shape of a category; labels, predicted: (P,)."""
        if category not in self.parts:
            raise InputError(
                f"category {category!r}", where="part segmentation", expected=", ".join(self.parts)
            )
        iou = shape_iou(labels, predicted, self.parts[category])
        self.sums[category] += (iou, 1, (labels == predicted).sum(), labels.size)

    def merge(self, other: PartSegmentation) -> None:
        """Add what another stream has seen."""
        for category, sums in other.sums.items():
            self.sums[category] += sums

    def compute(self) -> dict[str, float]:
        """Return every metric by name; NaN before the first shape."""
        table = np.stack(list(self.sums.values()))
        seen = table[table[:, 1] > 0]
        if not len(seen):
            return dict.fromkeys(METRICS, float("nan"))
        total = seen.sum(axis=0)
        by_category = float((seen[:, 0] / seen[:, 1]).mean())
        return dict(zip(METRICS, (total[0] / total[1], by_category, total[2] / total[3]), strict=True))
