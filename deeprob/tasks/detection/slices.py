"""Recall in parts of the objects: by size, distance to the border, crowding and recording.

Average precision is no mean over objects and cannot be taken of some of them without a say about which false
positives are theirs; whether an object was found can.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from deeprob.metrics.detection_matches import Floats, Matches
from deeprob.metrics.entries import entry
from deeprob.metrics.slices import LEAST, quarters
from deeprob.metrics.statistics import bootstrap, sums_by_unit

SLICED = "recall_at_best_f1"
MOST_GROUPS = 30


def recall_slices(
    matches: Matches,
    threshold: float,
    sizes: NDArray[np.int64],
    groups: Sequence[str],
    units: NDArray[np.int64],
    *,
    samples: int,
    seed: int,
) -> dict[str, list[dict[str, Any]]]:
    """Recall of detections with at least a score: kind -> slices, {label, n, units, value, ci95}.

    sizes: int64 (I, 2), height and width; groups, units: (I,), of each image. Slices of fewer than LEAST
    objects are left out, kinds with fewer than two slices too, and recordings of one image; recordings are
    listed from the worst, MOST_GROUPS at most.
    """
    of_image = matches.object_images
    found = (matches.object_scores >= threshold).astype(np.float64)
    rows = np.stack([found, np.ones(len(found))], axis=1)
    slices: dict[str, list[dict[str, Any]]] = {}
    for kind, label, inside in _members(matches, sizes, np.asarray(groups), found):
        if inside.sum() < LEAST:
            continue
        sums = sums_by_unit(scipy.sparse.csr_array(rows[inside]), units[of_image[inside]])
        of = bootstrap(sums, _share, samples=samples, seed=seed)
        value = entry(float(of.value[0]), float(of.low[0]), float(of.high[0]), int(inside.sum()))
        slices.setdefault(kind, []).append({"label": label, "units": int(sums.shape[0]), **value})
    if "group" in slices:
        slices["group"] = sorted(slices["group"], key=lambda of: of["value"])
    return {kind: cut for kind, cut in slices.items() if len(cut) > 1}


def _share(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., :1] / sums[..., 1:]


def _members(
    matches: Matches, sizes: NDArray[np.int64], groups: NDArray[np.str_], found: Floats
) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Every slice: its kind, its name, which objects are in it."""
    of_image = matches.object_images
    quantities = {
        "object_pixels": np.sqrt(matches.object_areas),
        "border_pixels": border_distance(matches.object_boxes, sizes[of_image]),
        "objects_in_image": np.bincount(of_image, minlength=len(sizes))[of_image].astype(np.float64),
        "neighbour_iou": neighbour_iou(matches),
    }
    for kind, values in quantities.items():
        for label, inside in quarters(values):
            yield kind, label, inside
    names, group = np.unique(groups, return_inverse=True)
    of_object = group[of_image]
    for i in _worst_groups(group, of_object, found):
        yield "group", str(names[i]), of_object == i


def _worst_groups(group: NDArray[np.int64], of_object: NDArray[np.int64], found: Floats) -> list[int]:
    """The recordings of the lowest recall, of several images and objects enough; group: of each image."""
    images = np.bincount(group)
    objects = np.bincount(of_object, minlength=len(images))
    hits = np.bincount(of_object, weights=found, minlength=len(images))
    enough = np.flatnonzero((images > 1) & (objects >= LEAST))
    order = np.argsort(hits[enough] / objects[enough], kind="stable")
    chosen: list[int] = enough[order][:MOST_GROUPS].tolist()
    return chosen


def border_distance(boxes: Floats, sizes: NDArray[np.int64]) -> Floats:
    """Pixels from each box (G, 4) to the nearest border of its image, 0 for one that touches it; (G,)."""
    height, width = sizes[:, 0], sizes[:, 1]
    to_sides = [boxes[:, 0] + 0.5, boxes[:, 1] + 0.5, width - 0.5 - boxes[:, 2], height - 0.5 - boxes[:, 3]]
    return np.asarray(np.min(to_sides, axis=0).clip(0), np.float64)


def neighbour_iou(matches: Matches) -> Floats:
    """The largest IoU of each object's box with another's in its image, of any class, (G,)."""
    found = np.zeros(len(matches.object_images))
    order = np.argsort(matches.object_images, kind="stable")
    starts = np.flatnonzero(np.diff(matches.object_images[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        boxes = matches.object_boxes[rows]
        low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
        inter, area = (high - low).clip(0).prod(-1), (boxes[:, 2:] - boxes[:, :2]).prod(-1)
        both = area[:, None] + area - inter
        iou = np.divide(inter, both, out=np.zeros_like(inter), where=both > 0)
        np.fill_diagonal(iou, 0)
        found[rows] = iou.max(axis=1, initial=0)
    return found
