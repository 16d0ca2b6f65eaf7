"""What a segmenter must beat: the commonest class everywhere, and a linear model of colour and place."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.frame import Frame
from deeprob.layers import cross_entropy, linear
from deeprob.tasks.frames import FramePredictor
from deeprob.tasks.segmentation.labels import IGNORED

PIXELS = 20_000  # that the linear model is trained on
STEPS = 300


def majority(samples: Any) -> FramePredictor:
    """The class of most training pixels, everywhere."""
    counts = np.zeros(256, np.int64)
    for labels in samples.labels:
        counts += np.bincount(labels.numpy().ravel(), minlength=256)
    counts[IGNORED] = 0
    commonest = int(counts.argmax())
    return lambda _, frame: np.full(frame.image.shape[:2], commonest, np.int64)


def softmax_regression(samples: Any, num_classes: int, seed: int) -> FramePredictor:
    """Softmax regression of each pixel's class on its colour, its surroundings' colour, and its place.

    Trained on PIXELS of the training images.
    """
    rng = np.random.default_rng([seed, 3])
    images = rng.permutation(len(samples))[:200]
    each = max(1, PIXELS // len(images))
    rows, classes = [], []
    for i in images.tolist():
        labels = samples.labels[i].numpy()
        known = np.flatnonzero(labels != IGNORED)
        if not len(known):
            continue
        chosen = rng.choice(known, each)
        rows.append(features(samples.images[i].numpy())[chosen])
        classes.append(labels.ravel()[chosen])
    weight, bias = fit(
        torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(classes)).long(), num_classes
    )

    def answer(_: int, frame: Frame) -> NDArray[np.int64]:
        logits = linear(torch.from_numpy(features(frame.image)), weight, bias)
        return np.asarray(logits.argmax(1).numpy().reshape(frame.image.shape[:2]), np.int64)

    return answer


def features(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What is seen of every pixel of an image (H, W, 3), its products and squares too: float32 (H W, 44)."""
    height, width = image.shape[:2]
    colour = image.astype(np.float32) / 127.5 - 1
    around = cv2.GaussianBlur(colour, (0, 0), width / 40)
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    seen = np.dstack([colour, around, x, y]).reshape(height * width, 8).astype(np.float32)
    first, second = np.triu_indices(8)
    return np.concatenate([seen, seen[:, first] * seen[:, second]], 1)


def fit(x: Tensor, target: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Weight (C, D) and bias (C,) of the softmax regression of classes (N,) on rows (N, D)."""
    weight = torch.zeros(num_classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=0.05)
    with torch.enable_grad():
        for _ in range(STEPS):
            optimizer.zero_grad()
            cross_entropy(linear(x, weight, bias), target).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return weight.detach(), bias.detach()
