"""What a model must beat: predictions that need no training by gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deeprob.errors import InputError
from deeprob.models.knn import KNearestNeighbours

Floats = NDArray[np.float64]


def majority(images: Tensor, labels: Tensor, queries: Tensor, num_classes: int, neighbours: int) -> Floats:
    """Predict the class frequencies of the training set for every query: always the most frequent class."""
    frequency = np.bincount(labels.cpu().numpy(), minlength=num_classes) / len(labels)
    return np.tile(frequency, (len(queries), 1))


def knn(images: Tensor, labels: Tensor, queries: Tensor, num_classes: int, neighbours: int) -> Floats:
    """Predict by vote of the nearest training images, Euclidean distance between raw pixels."""
    k = min(neighbours, len(images))
    model = KNearestNeighbours(images, labels, num_classes=num_classes, k=k)
    return model.votes(queries).cpu().numpy()


BASELINES: Mapping[str, Callable[[Tensor, Tensor, Tensor, int, int], Floats]] = {
    "majority": majority,
    "knn": knn,
}
"""Name -> training images (N, H, W, 3), labels (N,), queries (M, H, W, 3), classes C, k -> float64 (M, C)."""


def predict(
    name: str, images: Tensor, labels: Tensor, queries: Tensor, *, num_classes: int, neighbours: int = 5
) -> Floats:
    """Class probabilities (M, C) of a baseline. Raises InputError where there is no such name or sample."""
    if name not in BASELINES:
        raise InputError(
            f"no baseline named {name!r}", where="evaluation.baselines", expected=", ".join(BASELINES)
        )
    if len(images) == 0:
        raise InputError("the training split is empty", where=f"baseline {name}")
    return BASELINES[name](images, labels, queries, num_classes, neighbours)
