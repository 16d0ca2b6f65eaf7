"""What each detection found at an IoU of 0.5, and what else it overlaps: behind slices, errors and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Matches:
    """D detections that count, the best score first, beside G objects in I images. Crowds are none of either.

    images, classes: int64 (D,). boxes: (D, 4), left, top, right, bottom in pixels. scores: (D,). found: int64
    (D,), the object that each finds, -1 for none. same, other: (D,), the largest IoU with an object of the
    same class and of another, 0 where there is none; same_object, other_object: int64 (D,), which it is, -1
    for none. object_images, object_classes: int64 (G,). object_boxes: (G, 4). object_areas: (G,), pixels.
    object_scores: (G,), of the detection that finds it, -inf where none does.
    """

    num_images: int
    images: Integers
    classes: Integers
    boxes: Floats
    scores: Floats
    found: Integers
    same: Floats
    same_object: Integers
    other: Floats
    other_object: Integers
    object_images: Integers
    object_classes: Integers
    object_boxes: Floats
    object_areas: Floats
    object_scores: Floats

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Which detections find an object, bool (D,)."""
        return self.found >= 0


def matches_of(
    of_images: Sequence[Mapping[str, Any]],
    truth: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
    num_images: int,
) -> Matches:
    """Read pycocotools' matching (each class and image, all sizes) of annotations whose ids count from 1."""
    number = np.cumsum([not entry["iscrowd"] for entry in truth]) - 1  # of each object among those that count
    objects = [entry for entry in truth if not entry["iscrowd"]]
    index: list[int] = []
    owner: list[int] = []
    for e in of_images:
        for detection, match, ignored in zip(e["dtIds"], e["dtMatches"][0], e["dtIgnore"][0], strict=True):
            if not ignored:
                index.append(detection - 1)
                owner.append(int(number[int(match) - 1]) if match > 0 else -1)
    scores = np.array([found[i]["score"] for i in index], np.float64)
    order = np.argsort(-scores, kind="stable")
    kept = [found[index[i]] for i in order]
    owners = np.array(owner, np.int64)[order]
    images, classes = _images_and_classes(kept)
    object_images, object_classes = _images_and_classes(objects)
    object_scores = np.full(len(objects), -np.inf)
    object_scores[owners[owners >= 0]] = scores[order][owners >= 0]
    areas = np.array([entry["area"] for entry in objects], np.float64)
    overlaps = _overlaps(kept, objects, (images, classes), (object_images, object_classes))
    return Matches(
        *(num_images, images, classes, _corners(kept), scores[order], owners, *overlaps),
        *(object_images, object_classes, _corners(objects), areas, object_scores),
    )


def _corners(entries: Sequence[Mapping[str, Any]]) -> Floats:
    """Boxes (N, 4) by their corners."""
    boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _images_and_classes(entries: Sequence[Mapping[str, Any]]) -> tuple[Integers, Integers]:
    return (
        np.array([entry["image_id"] - 1 for entry in entries], np.int64),
        np.array([entry["category_id"] - 1 for entry in entries], np.int64),
    )


def _overlaps(
    found: Sequence[Mapping[str, Any]],
    objects: Sequence[Mapping[str, Any]],
    of_found: tuple[Integers, Integers],
    of_objects: tuple[Integers, Integers],
) -> tuple[Floats, Integers, Floats, Integers]:
    """Matches.same, same_object, other, other_object."""
    from pycocotools import mask as coco

    largest, which = np.zeros((2, len(found))), np.full((2, len(found)), -1)
    by_image = [_rows_of(images) for images, _ in (of_found, of_objects)]
    for image in by_image[0].keys() & by_image[1].keys():
        rows, columns = by_image[0][image], by_image[1][image]
        outlines = [
            [entry.get("segmentation", entry["bbox"]) for entry in (of[i] for i in at)]
            for of, at in ((found, rows), (objects, columns))
        ]
        iou = np.asarray(coco.iou(outlines[0], outlines[1], [0] * len(columns)))
        same = of_found[1][rows][:, None] == of_objects[1][columns]
        for kind, masked in enumerate((np.where(same, iou, 0), np.where(same, 0, iou))):
            at = masked.argmax(axis=1)
            best = masked[np.arange(len(rows)), at]
            largest[kind, rows], which[kind, rows] = best, np.where(best > 0, columns[at], -1)
    return largest[0], which[0], largest[1], which[1]


def _rows_of(images: Integers) -> dict[int, Integers]:
    """Which rows are of each image."""
    order = np.argsort(images, kind="stable")
    names, starts = np.unique(images[order], return_index=True)
    return dict(zip(names.tolist(), np.split(order, starts[1:]), strict=False))
