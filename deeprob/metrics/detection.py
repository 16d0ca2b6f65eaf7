"""COCO's detection metrics, by pycocotools.

    mean_ap   average precision over 101 recalls, mean over classes and IoU 0.50, 0.55 ... 0.95
    ap50, ap75                       at one IoU
    ap_small, ap_medium, ap_large    of objects up to 32^2, from there to 96^2, from 96^2 pixels on
    average_recall                   mean over classes and IoUs of the recall, at most 100 boxes of a class
                                     in an image

An object's size is its annotation's area, as COCO's is; a detection's that of its box or mask.

The IoU is that of boxes, or of masks.

Source: Lin et al., Microsoft COCO, ECCV 2014, and cocodataset.org/#detection-eval. What is not defined (no
object of a size) is NaN, where pycocotools says -1.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.metrics.detection_matches import Matches, matches_of

METRICS = ("mean_ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "average_recall")
_STATS = (0, 1, 2, 3, 4, 5, 8)  # where pycocotools keeps them


@dataclass(frozen=True, eq=False)
class Ranked:
    """The D detections of one class that count, the best score first, over I images.

    scores: (D,). images: int64 (D,), 0..I - 1. hit, miss: bool (T, D), at each IoU whether it found an object
    or none; objects outside of the size range are neither. positives: float64 (I,), objects of each image.
    """

    scores: NDArray[np.float64]
    images: NDArray[np.int64]
    hit: NDArray[np.bool_]
    miss: NDArray[np.bool_]
    positives: NDArray[np.float64]


class Detection:
    """Metrics of a stream of images; only boxes are kept, and masks by their run lengths.

    classes: C names. masks: compare masks in place of boxes.
    """

    def __init__(self, classes: Sequence[str], masks: bool = False) -> None:
        self.classes = tuple(classes)
        self.masks = masks
        self.num_images = 0
        self._sizes: list[dict[str, int]] = []  # of the images, where masks are compared
        self._truth: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []
        self._evaluated: Any = None

    def update(
        self,
        boxes: NDArray[np.floating],
        scores: NDArray[np.floating],
        class_ids: NDArray[np.integer],
        true_boxes: NDArray[np.floating],
        true_class_ids: NDArray[np.integer],
        masks: Sequence[NDArray[np.bool_]] | None = None,
        true_masks: Sequence[NDArray[np.bool_]] | None = None,
        crowd: NDArray[np.bool_] | None = None,
        true_areas: NDArray[np.floating] | None = None,
    ) -> None:
        """Add one image.

        boxes (N, 4), true_boxes (M, 4): left, top, right, bottom in pixels; scores (N,); class_ids (N,) and
        (M,), 0..C - 1; masks, true_masks: bool (H, W) each, where masks are compared; crowd: bool (M,), which
        of the true ones are regions of objects nobody counted: what of their class lies in them counts
        neither for nor against; true_areas (M,): pixels, None takes the masks' or the boxes'. Raises
        InputError where they do not fit, or are not finite boxes and scores.
        """
        self._check("detections", boxes, class_ids)
        self._check("labels", true_boxes, true_class_ids)
        if scores.shape != class_ids.shape or not np.isfinite(scores).all():
            raise InputError(f"scores {scores.shape}", where="detections", expected="one finite number a box")
        outlines = []
        for of, given in ((true_class_ids, true_masks), (class_ids, masks)):
            if self.masks and (given is None or len(given) != len(of)):
                raise InputError("no mask for each box", where="detections", expected=f"{len(of)} masks")
            outlines.append([_run_lengths(m) for m in given or ()] if self.masks else [None] * len(of))
        shape = next((m.shape for of in (masks, true_masks) for m in of or ()), (0, 0))
        self._sizes.append({"height": shape[0], "width": shape[1]})
        self.num_images += 1
        self._evaluated = None
        crowd = np.zeros(len(true_class_ids), bool) if crowd is None else crowd
        truth = zip(true_boxes.tolist(), true_class_ids.tolist(), outlines[0], crowd.tolist(), strict=True)
        for i, (box, c, outline, of_many) in enumerate(truth):
            entry = self._entry(box, c, outline) | {"iscrowd": int(of_many)}
            self._truth.append(entry if true_areas is None else entry | {"area": float(true_areas[i])})
        found = zip(boxes.tolist(), class_ids.tolist(), outlines[1], scores.tolist(), strict=True)
        for box, c, outline, score in found:
            self._found.append(self._entry(box, c, outline) | {"score": score})

    def merge(self, other: Detection) -> None:
        """Add the images that another stream has seen."""
        for mine, theirs in ((self._truth, other._truth), (self._found, other._found)):
            mine.extend({**entry, "image_id": entry["image_id"] + self.num_images} for entry in theirs)
        self.num_images += other.num_images
        self._evaluated = None
        self._sizes.extend(other._sizes)

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

    def ranked(self) -> list[list[Ranked]]:
        """The detections of each size range (all, small, medium, large) and class; nothing without labels."""
        evaluated = self._evaluate()
        if evaluated is None:
            return []
        most, images = evaluated.params.maxDets[-1], len(evaluated.params.imgIds)
        numbers = len(self.classes), len(evaluated.params.areaRng), images
        of_images = np.empty(numbers, object)
        of_images.ravel()[:] = evaluated.evalImgs
        return [
            [_ranked(of_images[c, size], most, len(evaluated.params.iouThrs)) for c in range(numbers[0])]
            for size in range(numbers[1])
        ]

    def matches(self) -> Matches | None:
        """What each detection found at an IoU of 0.5; None without labels."""
        evaluated = self._evaluate()
        if evaluated is None:
            return None
        of_images = [e for e in evaluated.evalImgs if e and e["aRng"] == evaluated.params.areaRng[0]]
        return matches_of(of_images, self._truth, self._found, self.num_images)

    def _entry(self, box: Sequence[float], class_id: int, outline: Any) -> dict[str, Any]:
        left, top, right, bottom = box
        size = [right - left, bottom - top]
        entry = {
            "image_id": self.num_images,
            "category_id": class_id + 1,
            "bbox": [left, top, *size],
            "area": size[0] * size[1],
        }
        if outline is not None:
            from pycocotools import mask as coco

            entry |= {"segmentation": outline, "area": float(coco.area(outline))}
        return entry

    def _evaluate(self) -> Any:
        """Find pycocotools' matching of what was added so far, run once and silently; None without labels."""
        if self._evaluated is None and self._truth:
            self._evaluated = self._matched()
        return self._evaluated

    def _matched(self) -> Any:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                "info": {},
                "images": [{"id": i + 1, **size} for i, size in enumerate(self._sizes)],
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
            evaluated = COCOeval(truth, found, "segm" if self.masks else "bbox")
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


def _ranked(of_images: Sequence[Any], most: int, num_ious: int) -> Ranked:
    """One class and size range of pycocotools' matching, its images in order; None for an empty one."""
    positives = np.zeros(len(of_images))
    scores: list[NDArray[np.float64]] = [np.zeros(0)]
    images: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    matches: list[NDArray[np.bool_]] = [np.zeros((num_ious, 0), bool)]
    ignored: list[NDArray[np.bool_]] = [np.zeros((num_ious, 0), bool)]
    for i, of_image in enumerate(of_images):
        if of_image is None:
            continue
        positives[i] = np.count_nonzero(np.asarray(of_image["gtIgnore"]) == 0)
        scores.append(np.asarray(of_image["dtScores"][:most], np.float64))
        images.append(np.full(len(scores[-1]), i))
        matches.append(np.asarray(of_image["dtMatches"][:, :most]) > 0)
        ignored.append(np.asarray(of_image["dtIgnore"][:, :most], bool))
    joined = np.concatenate(scores)
    order = np.argsort(-joined, kind="stable")
    hit, left_out = (np.concatenate(part, axis=1)[:, order] for part in (matches, ignored))
    return Ranked(joined[order], np.concatenate(images)[order], hit & ~left_out, ~hit & ~left_out, positives)


def _run_lengths(mask: NDArray[np.bool_]) -> Any:
    from pycocotools import mask as coco

    return coco.encode(np.asfortranarray(mask, np.uint8))
