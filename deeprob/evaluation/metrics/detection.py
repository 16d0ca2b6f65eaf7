"""COCO's detection metrics, by pycocotools.

    mean_ap   average precision over 101 recalls, mean over classes and IoU 0.50, 0.55 ... 0.95
    ap50, ap75                       at one IoU
    ap_small, ap_medium, ap_large    of objects below 32^2, up to 96^2, above 96^2 pixels
    average_recall                   mean over classes and IoUs of the recall with at most 100 boxes an image

Source: Lin et al., Microsoft COCO, ECCV 2014, and cocodataset.org/#detection-eval. What is not defined (no
object of a size) is NaN, where pycocotools says -1.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError

METRICS = ("mean_ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "average_recall")
_STATS = (0, 1, 2, 3, 4, 5, 8)  # where pycocotools keeps them


class Detection:
    """Metrics of a stream of images; only boxes are kept. classes: C names."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.num_images = 0
        self._truth: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []

    def update(
        self,
        boxes: NDArray[np.floating],
        scores: NDArray[np.floating],
        class_ids: NDArray[np.integer],
        true_boxes: NDArray[np.floating],
        true_class_ids: NDArray[np.integer],
    ) -> None:
        """Add one image.

        boxes (N, 4), true_boxes (M, 4): left, top, right, bottom in pixels; scores (N,); class_ids (N,) and
        (M,), 0..C - 1. Raises InputError where they do not fit, or are not finite boxes and scores.
        """
        self._check("detections", boxes, class_ids)
        self._check("labels", true_boxes, true_class_ids)
        if scores.shape != class_ids.shape or not np.isfinite(scores).all():
            raise InputError(f"scores {scores.shape}", where="detections", expected="one finite number a box")
        self.num_images += 1
        for box, c in zip(true_boxes.tolist(), true_class_ids.tolist(), strict=True):
            self._truth.append(self._entry(box, c) | {"iscrowd": 0})
        for box, c, score in zip(boxes.tolist(), class_ids.tolist(), scores.tolist(), strict=True):
            self._found.append(self._entry(box, c) | {"score": score})

    def merge(self, other: Detection) -> None:
        """Add the images that another stream has seen."""
        for mine, theirs in ((self._truth, other._truth), (self._found, other._found)):
            mine.extend({**entry, "image_id": entry["image_id"] + self.num_images} for entry in theirs)
        self.num_images += other.num_images

    def compute(self) -> dict[str, float]:
        """Return every metric by name; NaN without labels."""
        evaluated = self._evaluate()
        if evaluated is None:
            return dict.fromkeys(METRICS, float("nan"))
        with contextlib.redirect_stdout(io.StringIO()):
            evaluated.summarize()
        stats = evaluated.stats[list(_STATS)]
        return dict(zip(METRICS, np.where(stats < 0, np.nan, stats).tolist(), strict=True))

    def precision_recall(self, iou: float = 0.5) -> NDArray[np.float64]:
        """Precision at recalls 0, 0.01 ... 1 of each class, float64 (C, 101); NaN for one without labels."""
        evaluated = self._evaluate()
        if evaluated is None:
            return np.full((len(self.classes), 101), np.nan)
        at = int(np.argmin(np.abs(evaluated.params.iouThrs - iou)))
        precision = evaluated.eval["precision"][at, :, :, 0, -1].T
        return np.asarray(np.where(precision < 0, np.nan, precision))

    def class_ap(self, iou: float | None = None) -> NDArray[np.float64]:
        """AP of each class, float64 (C,), at one IoU or the mean over all; NaN for a class without labels."""
        evaluated = self._evaluate()
        if evaluated is None:
            return np.full(len(self.classes), np.nan)
        if iou is not None:
            return np.asarray(self.precision_recall(iou).mean(axis=1))
        precision = evaluated.eval["precision"][:, :, :, 0, -1]
        return np.asarray(np.where(precision < 0, np.nan, precision).mean(axis=(0, 1)))

    def _entry(self, box: Sequence[float], class_id: int) -> dict[str, Any]:
        left, top, right, bottom = box
        size = [right - left, bottom - top]
        return {
            "image_id": self.num_images,
            "category_id": class_id + 1,
            "bbox": [left, top, *size],
            "area": size[0] * size[1],
        }

    def _evaluate(self) -> Any:
        """Run pycocotools' matching, silently; None where there are no labels."""
        if not self._truth:
            return None
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                "info": {},
                "images": [{"id": i + 1} for i in range(self.num_images)],
                "categories": [{"id": c + 1, "name": name} for c, name in enumerate(self.classes)],
                # ids from 1: to pycocotools a match with the object of id 0 is no match
                "annotations": [{**entry, "id": i + 1} for i, entry in enumerate(self._truth)],
            }
            truth.createIndex()
            found = COCO()
            found.dataset = {
                **truth.dataset,
                "annotations": [{**entry, "id": i + 1, "iscrowd": 0} for i, entry in enumerate(self._found)],
            }
            found.createIndex()
            evaluated = COCOeval(truth, found, "bbox")
            evaluated.evaluate()
            evaluated.accumulate()
        return evaluated

    def _check(self, where: str, boxes: NDArray[np.floating], class_ids: NDArray[np.integer]) -> None:
        if boxes.shape != (len(class_ids), 4) or not np.isfinite(boxes).all():
            raise InputError(
                f"boxes {boxes.shape}", where=where, expected=f"finite numbers ({len(class_ids)}, 4)"
            )
        upside_down = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
        if upside_down.any():
            wrong = boxes[upside_down][0].tolist()
            raise InputError(f"box {wrong}", where=where, expected="left <= right and top <= bottom")
        if len(class_ids) and not 0 <= class_ids.min() <= class_ids.max() < len(self.classes):
            raise InputError(
                f"class {class_ids[(class_ids < 0) | (class_ids >= len(self.classes))][0]}",
                where=where,
                expected=f"0 to {len(self.classes) - 1}",
            )
