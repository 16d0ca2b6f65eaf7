"""Segmentation metrics as functions of sums over images, as those of classification.

Each image adds five numbers for each class: pixels right, labelled, predicted; its boundary F1, and 1 where
the class is in the image.

    miou             mean over the classes that occur or are predicted of right / (labelled + predicted -
    right)
                     (Everingham et al., The PASCAL visual object classes challenge, IJCV 2010)
    pixel_accuracy   right / labelled, over all pixels
    mean_class_accuracy   mean over the classes that occur of right / labelled
    boundary_f1      mean over classes, and images that hold or predict them, of the F1 of boundary pixels
    that lie
                     within 0.75 % of the image diagonal of the other boundary
                     (Csurka et al., What is a good evaluation measure for semantic segmentation?, BMVC 2013)
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.metrics.classification import Floats

METRICS = ("miou", "pixel_accuracy", "mean_class_accuracy", "boundary_f1")
PARTS = 5
TOLERANCE = 0.0075  # of the image diagonal


def image_sums(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], num_classes: int, *, ignore: int = 255
) -> Floats:
    """Return what one image adds, float64 (PARTS * C,).

    labels, predicted: (H, W); `ignore` marks pixels without a label, which count nowhere. Raises InputError
    where shapes differ or a class is out of range.
    """
    if labels.shape != predicted.shape or labels.ndim != 2:
        raise InputError(
            f"labels {labels.shape} and prediction {predicted.shape}",
            where="segmentation",
            expected="(H, W) both",
        )
    known = labels != ignore
    truth, answer = labels[known].astype(np.int64), predicted[known].astype(np.int64)
    for name, values in (("label", truth), ("predicted class", answer)):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            wrong = values[(values < 0) | (values >= num_classes)][0]
            raise InputError(f"{name} {wrong}", where="segmentation", expected=f"0 to {num_classes - 1}")
    right = np.bincount(truth[truth == answer], minlength=num_classes)
    labelled = np.bincount(truth, minlength=num_classes)
    answered = np.bincount(answer, minlength=num_classes)
    boundary, present = np.zeros(num_classes), labelled + answered > 0
    for c in np.flatnonzero(present):
        boundary[c] = boundary_f1((labels == c) & known, (predicted == c) & known)
    return np.concatenate([right, labelled, answered, boundary, present]).astype(np.float64)


def metrics_of_sums(sums: Floats) -> Floats:
    """Metrics float64 (..., len(METRICS)) of sums (..., PARTS * C); NaN where no pixel was summed."""
    right, labelled, predicted, boundary, images = np.split(sums, PARTS, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        pixel_accuracy = right.sum(-1) / labelled.sum(-1)
    return np.stack(
        [
            _mean_ratio(right, labelled + predicted - right),
            pixel_accuracy,
            _mean_ratio(right, labelled),
            _mean_ratio(boundary, images),
        ],
        axis=-1,
    )


def class_iou(sums: Floats) -> Floats:
    """IoU of each class, float64 (..., C); NaN for one that neither occurs nor is predicted."""
    right, labelled, predicted, _, _ = np.split(sums, PARTS, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(right / (labelled + predicted - right))


def boundary_f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """F1 of the boundary pixels of two masks (H, W), within TOLERANCE; 0 where only one of them has any."""
    reach = max(1.0, TOLERANCE * math.hypot(*truth.shape))
    of_truth, of_answer = _boundary(truth), _boundary(predicted)
    if not of_truth.any() or not of_answer.any():
        return 0.0
    precision = float((_distance_to(of_truth)[of_answer] <= reach).mean())
    recall = float((_distance_to(of_answer)[of_truth] <= reach).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask with a 4-neighbour outside of it; beyond the image there is nothing of the mask."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _distance_to(pixels: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Euclidean distance in pixels of every pixel to the nearest of `pixels`."""
    distance = cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance, dtype=np.float32)


def _mean_ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Mean over the last axis of the ratios whose denominator is not 0."""
    defined = denominator > 0
    ratios = np.where(defined, numerator / np.where(defined, denominator, 1), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(ratios.sum(-1) / defined.sum(-1))
