"""What is said of label maps beside their metrics: which classes are mistaken, and how near to boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.page import drawing, drawn
from deeprob.page.overlays import mistakes
from deeprob.page.pictures import data_uri
from deeprob.tasks.segmentation.labels import IGNORED

EDGES = (1.5, 2.5, 4.5, 8.5, 16.5)  # pixels from the nearest boundary; the last bin is open
NEAR = ("1", "2", "3 to 4", "5 to 8", "9 to 16", "over 16")
PANEL = 320  # pixels of a picture's width
MOST_CLASSES = 24  # in a drawn confusion matrix
Counts = NDArray[np.int64]


def confusion(labels: Counts, predicted: Counts, num_classes: int) -> Counts:
    """Pixels of each class (rows) that each class (columns) was said of, int64 (C, C)."""
    known = labels != IGNORED
    pairs = labels[known] * num_classes + predicted[known]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def by_distance(labels: Counts, predicted: Counts) -> Counts:
    """Pixels, and wrong ones, by the distance to the nearest boundary of a label map: int64 (2, bins)."""
    known = labels != IGNORED
    inside = np.ones(labels.shape, np.uint8)
    for axis in (0, 1):
        step = np.diff(labels, axis=axis) != 0
        first, last = [(0, 1), (0, 0)], [(1, 0), (0, 0)]
        pads = (first, last) if axis == 0 else (first[::-1], last[::-1])
        inside[np.pad(step, pads[0]) | np.pad(step, pads[1])] = 0
    if inside.all():
        distance = np.full(labels.shape, np.inf)
    else:
        distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) + 1.0
    bins = np.digitize(distance, EDGES)
    wrong = known & (labels != predicted)
    return np.stack([np.bincount(bins[of], minlength=len(NEAR)) for of in (known, wrong)])


def most_mistaken(counts: Counts, classes: Sequence[str], most: int = 10) -> list[dict[str, Any]]:
    """The pairs of classes with the most pixels that were mistaken, and their share of the first's pixels."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    found = []
    for truth, said in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[truth, said]:
            share = wrong[truth, said] / counts[truth].sum()
            pair = {"truth": classes[truth], "said": classes[said]}
            found.append(pair | {"pixels": int(wrong[truth, said]), "share": float(share)})
    return found


def drawings(counts: Counts, near: Counts, classes: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The confusion of classes in pixels, and errors by distance to the boundary: name -> (SVG, caption)."""
    found = {}
    if len(classes) <= MOST_CLASSES:
        found["confusion"] = (_confusion_matrix(counts, classes), "Of each class's pixels, in per cent.")
    figure, axes = drawing.new_figure()
    shares = np.divide(near[1], near[0], out=np.zeros(len(NEAR)), where=near[0] > 0)
    part = near[1] / max(near[1].sum(), 1)
    axes.bar(NEAR, 100 * shares, color=drawing.SERIES[0])
    axes.set(xlabel="pixels to the nearest boundary", ylabel="wrong, %")
    for i, (share, of_all) in enumerate(zip(shares, part, strict=True)):
        axes.annotate(
            f"{100 * of_all:.0f} %", (i, 100 * share), ha="center", va="bottom", color=drawing.MUTED
        )
    told = ", ".join(f"{name}: {100 * s:.1f} %" for name, s in zip(NEAR, shares, strict=True))
    text = "Wrong pixels by distance to the true boundary; above the bars their part of all errors."
    found["distance"] = (
        drawing.to_svg(figure, "boundary-distance", f"Wrong pixels by distance: {told}."),
        text,
    )
    return found


def _confusion_matrix(counts: Counts, classes: Sequence[str]) -> str:
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = drawing.new_figure(drawing.WIDTH, max(drawing.HEIGHT, 0.27 * len(classes) + 1))
    wrong = share.copy()
    np.fill_diagonal(wrong, 0)
    for row, column in zip(*np.nonzero(share >= 0.005), strict=True):
        right = row == column
        alpha = share[row, column] * (0.55 if right else 1.0)
        colour = drawing.SERIES[0] if right else drawing.SERIES[1]
        axes.barh(row, 1, left=column - 0.5, height=1, color=colour, alpha=max(float(alpha), 0.06))
        axes.annotate(
            f"{100 * share[row, column]:.0f}",
            (column, row),
            ha="center",
            va="center",
            color=drawing.INK,
            size=6,
        )
    axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(len(classes) - 0.5, -0.5), xlabel="predicted")
    axes.set_yticks(range(len(classes)), classes, size=6)
    axes.set_xticks(range(len(classes)), [str(i) for i in range(len(classes))], size=6)
    pairs = most_mistaken(counts, classes, 3)
    told = "; ".join(f"{p['truth']} as {p['said']} {100 * p['share']:.1f} %" for p in pairs)
    return drawing.to_svg(figure, "pixel-confusion", f"Classes that are mistaken: {told or 'none'}.")


def beside(image: NDArray[np.uint8], labels: Counts, predicted: Counts) -> str:
    """Two pictures in one: the predicted classes over the image, and the wrong pixels in red."""
    shown = image.astype(np.float32)
    for value in np.unique(predicted[predicted > 0]).tolist():
        said = predicted == value
        shown[said] = 0.45 * shown[said] + 0.55 * np.array(drawn.colour_of(value - 1), np.float32)
    wrong = mistakes(image, (labels != predicted) & (labels != IGNORED))
    size = PANEL, max(1, round(PANEL * image.shape[0] / image.shape[1]))
    how = cv2.INTER_AREA if image.shape[1] > PANEL else cv2.INTER_NEAREST
    panels = [cv2.resize(p, size, interpolation=how) for p in (np.round(shown).astype(np.uint8), wrong)]
    return data_uri(np.ascontiguousarray(np.hstack(panels), np.uint8), ".jpg")
