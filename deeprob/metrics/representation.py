"""What frozen features say of classes: a linear probe, k nearest neighbours, and neighbours across groups.

    probe_accuracy       softmax regression on the features of the training split, asked about another
    knn_accuracy         the vote of the k nearest training samples, by cosine
    neighbour_agreement  of a split alone: the nearest sample of another group has the same class

The first two need the labels of a training split; the third tells during a training whether features get
better. Sources: Chen et al. 2020, SimCLR (probe); Wu et al. 2018, Unsupervised feature learning via
non-parametric instance discrimination (k nearest neighbours).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

METRICS = ("neighbour_agreement", "probe_accuracy", "knn_accuracy")
CHUNK = 2048  # rows of the matrix of similarities at a time


def nearest_elsewhere(features: NDArray[np.floating], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the most similar sample, by cosine, of another group; where there is one group alone, any other.

    features: (N, D). groups: int64 (N,).
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    apart = groups if len(np.unique(groups)) > 1 else np.arange(len(groups))
    found = []
    for start in range(0, len(unit), CHUNK):
        similar = unit[start : start + CHUNK] @ unit.T
        similar[apart[start : start + CHUNK, None] == apart] = -np.inf
        found.append(similar.argmax(1))
    return np.concatenate(found)
