"""What a model must beat: predictions that know nothing of images but their pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import Tensor

from deeprob.errors import InputError
from deeprob.metrics.classification import Floats, softmax
from deeprob.models.knn import KNearestNeighbours

LINEAR_PENALTY = 0.01  # of half the squared weights, beside the mean loss


def majority(images: Tensor, labels: Tensor, queries: Tensor, num_classes: int, neighbours: int) -> Floats:
    """Predict the class frequencies of the training set for every query: always the most frequent class."""
    frequency = np.bincount(labels.cpu().numpy(), minlength=num_classes) / len(labels)
    return np.tile(frequency, (len(queries), 1))


def knn(images: Tensor, labels: Tensor, queries: Tensor, num_classes: int, neighbours: int) -> Floats:
    """Predict by vote of the nearest training images, Euclidean distance between raw pixels."""
    k = min(neighbours, len(images))
    model = KNearestNeighbours(images, labels, num_classes=num_classes, k=k)
    return model.votes(queries).cpu().numpy()


def linear(images: Tensor, labels: Tensor, queries: Tensor, num_classes: int, neighbours: int) -> Floats:
    """Predict by softmax regression on standardised pixels, with an L2 penalty, fitted by L-BFGS."""
    pixels = images.flatten(1).cpu().numpy().astype(np.float32)
    mean, std = pixels.mean(axis=0), pixels.std(axis=0)
    std[std == 0] = 1  # a pixel that never changes says nothing

    def features(part: Tensor) -> NDArray[np.float32]:
        return np.asarray((part.flatten(1).cpu().numpy() - mean) / std, dtype=np.float32)

    x, y = features(images), np.eye(num_classes)[labels.cpu().numpy()]
    shape = (x.shape[1] + 1, num_classes)  # the last row is the bias

    def loss_and_gradient(flat: Floats) -> tuple[float, Floats]:
        W = flat.reshape(shape)
        logits = x @ W[:-1].astype(np.float32) + W[-1]
        dlogits = (softmax(logits) - y) / len(x)
        penalty = LINEAR_PENALTY * W[:-1]
        dW = np.concatenate([x.T @ dlogits.astype(np.float32) + penalty, dlogits.sum(axis=0)[None]])
        loss = (logsumexp(logits, axis=1) - (logits * y).sum(axis=1)).mean() + (penalty * W[:-1]).sum() / 2
        return float(loss), dW.ravel()

    start = np.zeros(shape[0] * shape[1])
    fitted = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    W = fitted.x.reshape(shape)
    return softmax(features(queries) @ W[:-1] + W[-1])


BASELINES: Mapping[str, Callable[[Tensor, Tensor, Tensor, int, int], Floats]] = {
    "majority": majority,
    "knn": knn,
    "linear": linear,
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
