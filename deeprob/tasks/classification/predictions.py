"""A model's predictions for every sample of a split, kept in the run folder: all numbers follow from them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.metrics.classification import Floats, Integers, softmax
from deeprob.runs import Run
from deeprob.writing import atomic_file

THUMBNAIL_PIXELS = 96  # longest side; small crops are kept as they are
NUM_WRONG, NUM_RIGHT = 60, 24
BASELINE = "baseline_"  # prefix of the arrays of a baseline in the file


@dataclass(frozen=True)
class Predictions:
    """Outputs on one split.

    probabilities: float64 (N, C); labels: int64 (N,); units: int64 (N,), the independent unit (frame,
    scene) of each sample; keys: (N,) where each sample came from; classes: C names; baselines: name ->
    probabilities (N, C).
    groups: (N,) the recording or scene of each; attributes: float32 (N, 3), ATTRIBUTES of the view; empty
    where not known.
    templates: uint8 (P, h, w, 3), weights of the model as pictures, where it has such.
    thumbnails: uint8 (T, h, w, 3) of the samples `shown`, int64 (T,): wrong ones first, the most confident
    first.
    """

    probabilities: Floats
    labels: Integers
    units: Integers
    keys: Sequence[str]
    classes: Sequence[str]
    baselines: dict[str, Floats] = field(default_factory=dict)
    thumbnails: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 1, 1, 3), np.uint8))
    shown: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    templates: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 1, 1, 3), np.uint8))
    groups: Sequence[str] = ()
    attributes: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 3), np.float32))

    @cached_property
    def predicted(self) -> Integers:
        """The most probable class, int64 (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1))

    def save(self, path: Path) -> None:
        """Write them to an .npz file, whole or not at all."""
        arrays: dict[str, Any] = {
            "probabilities": self.probabilities,
            "labels": self.labels,
            "units": self.units,
            "keys": np.asarray(self.keys, dtype=np.str_),
            "classes": np.asarray(self.classes, dtype=np.str_),
            "thumbnails": self.thumbnails,
            "shown": self.shown,
            "templates": self.templates,
            "groups": np.asarray(self.groups, dtype=np.str_),
            "attributes": self.attributes,
            **{BASELINE + name: values.astype(np.float32) for name, values in self.baselines.items()},
        }
        with atomic_file(path, "wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what `save` wrote. Raises InputError where the file is missing, broken or incomplete."""
        fix = f"run: deeprob evaluate {Run(path.parent).argument}"
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except FileNotFoundError:
            raise InputError("no predictions of this split", where=path, fix=fix) from None
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"broken predictions ({error})", where=path, fix=fix) from None
        baselines = {k.removeprefix(BASELINE): arrays.pop(k) for k in list(arrays) if k.startswith(BASELINE)}
        try:
            keys, classes = arrays.pop("keys").tolist(), arrays.pop("classes").tolist()
            groups = arrays.pop("groups").tolist() if "groups" in arrays else []
            # As earlier versions wrote them:
            if "facts" in arrays:
                arrays["attributes"] = arrays.pop("facts")
            if "logits" in arrays:
                arrays["probabilities"] = softmax(arrays.pop("logits"))
            found = cls(**arrays, keys=keys, classes=classes, baselines=baselines, groups=groups)
            wrong = found._wrong()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"incomplete predictions ({error})", where=path, fix=fix) from None
        if wrong:
            raise InputError(f"{wrong} of another form than the rest", where=path, fix=fix)
        return found

    def _wrong(self) -> str | None:
        """The name of an array that does not fit the others; None where all are as the class says."""
        N, C, T = len(self.labels), len(self.classes), len(self.shown)
        forms: dict[str, tuple[object, str, tuple[int | None, ...]]] = {
            "labels": (self.labels, "iu", (N,)),
            "probabilities": (self.probabilities, "f", (N, C)),
            "units": (self.units, "iu", (N,)),
            "keys": (np.asarray(self.keys), "U", (N,)),
            "classes": (np.asarray(self.classes), "U", (C,)),
            "shown": (self.shown, "iu", (T,)),
            "thumbnails": (self.thumbnails, "u", (T, None, None, 3)),
            "templates": (self.templates, "u", (None, None, None, 3)),
            "attributes": (self.attributes, "f", (N if len(self.attributes) else 0, 3)),
            **{f"baseline {name}": (values, "f", (N, C)) for name, values in self.baselines.items()},
        }
        if self.groups:
            forms["groups"] = (np.asarray(self.groups), "U", (N,))
        for name, (values, kinds, shape) in forms.items():
            assert isinstance(values, np.ndarray)
            fits = values.ndim == len(shape) and all(
                want in (None, have) for want, have in zip(shape, values.shape, strict=True)
            )
            if values.dtype.kind not in kinds or not fits:
                return name
        in_range = N > 0 and 0 <= self.labels.min() <= self.labels.max() < C
        if not in_range or (T and not 0 <= self.shown.min() <= self.shown.max() < N):
            return "shown" if in_range else "labels"
        return None


def most_telling(probabilities: Floats, labels: Integers) -> Integers:
    """Choose the samples to show: wrong ones, the most confident first, then the least certain right ones."""
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    right = predicted == labels
    order = np.argsort(np.where(right, confidence, -confidence), kind="stable")
    wrong_first = order[~right[order]][:NUM_WRONG]
    return np.concatenate([wrong_first, order[right[order]][:NUM_RIGHT]])


def frequent_confusions(predictions: Predictions) -> list[tuple[int, int, int]]:
    """(count, label, predicted) of every pair that was confused, the most frequent first."""
    wrong = predictions.labels != predictions.predicted
    pairs = np.stack([predictions.labels[wrong], predictions.predicted[wrong]], axis=1)
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    found = [(int(n), int(i), int(j)) for n, (i, j) in zip(counts, kinds, strict=True)]
    return sorted(found, key=lambda of: (-of[0], of[1:]))


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink images (T, H, W, 3) to at most THUMBNAIL_PIXELS on their longest side."""
    height, width = images.shape[1:3]
    scale = THUMBNAIL_PIXELS / max(height, width)
    if scale >= 1 or len(images) == 0:
        return images
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images]).astype(np.uint8)
