"""Label maps: 0 is the background, class i is i + 1, and what nobody labelled is IGNORED."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from deeprob.data.frame import Frame, Instance
from deeprob.errors import InputError

IGNORED = 255
"""A pixel without a label: no target of training, and neither right nor wrong."""

MOST_CLASSES = 254  # beside the background


def label_map_of(frame: Frame) -> NDArray[np.int64]:
    """The class of each pixel, int64 (H, W); a crowd's pixels are IGNORED.

    Raises InputError for an object without a mask.
    """
    return draw_labels(frame.image.shape[:2], frame.instances, frame.crowds, frame.key)


def draw_labels(
    size: tuple[int, ...], instances: Iterable[Instance], crowds: Iterable[Instance], where: str
) -> NDArray[np.int64]:
    """The class of each pixel of an image of this height and width, int64 (H, W)."""
    labels = np.zeros(size, np.int64)
    for crowd in crowds:
        labels[_region(crowd, size)] = IGNORED
    for instance in instances:
        if instance.mask is None:
            raise InputError("an object has no mask", where=where, expected="a data set with masks")
        labels[instance.mask] = instance.class_id + 1
    return labels


def _region(crowd: Instance, size: tuple[int, ...]) -> Any:
    """The pixels of a crowd: its mask's; its box's where it has none."""
    if crowd.mask is not None:
        return crowd.mask
    left, top, right, bottom = (np.asarray(crowd.box_xyxy) + 0.5).round().astype(int)
    return slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))


def logits_of(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor | None]:
    """What a segmenter gives for a batch: logits (B, C, H, W), and those of an auxiliary head in training.

    Raises InputError for a model or samples of another task.
    """
    labels = getattr(batch, "labels", None)
    if not isinstance(labels, Tensor) or labels.dim() != 3:
        raise InputError(
            "these samples have no label maps", fix="set data/view=segmentation, or another objective"
        )
    given = model(batch.images)
    logits, auxiliary = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    if not isinstance(logits, Tensor) or logits.dim() != 4 or logits.shape[2:] != labels.shape[1:]:
        raise InputError(
            "the model gives no logits for every pixel",
            expected="a segmenter, such as model=unet",
            fix="a classifier takes data/view=classification, a detector data/view=detection",
        )
    return logits, auxiliary
