"""Crops around the boxes that a detector found, where evaluation asks for more than the true ones."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeprob.data.batches.materialise import Gathering
from deeprob.data.batches.store import Budget, Columns
from deeprob.data.frame import Frame, Instance
from deeprob.data.predictions.files import Box, read_predictions
from deeprob.data.source import Source
from deeprob.errors import InputError

TRUE = "gt"


def detected(
    boxes: str, source: Source, split: str, view: Any, keys: set[str] | None
) -> tuple[Any, dict[str, float]]:
    """The view's samples around detected boxes, and the score of each by its key.

    boxes: a file of detections, or the folder of a detector's run that was evaluated on the same split.
    Of each class as many boxes count as the frame has objects, the best score first: a pose method is told
    what an image holds. keys: only frames of these. Raises InputError where there is no such file.
    """
    path = _file(boxes, source, split)
    predicted = read_predictions(path, source, split)
    if predicted.task not in ("detection", "instance_segmentation"):
        raise InputError(f"predictions of {predicted.task}", where=path, expected="boxes")
    frames, gathering = source.frames(split), Gathering(source, view, Columns(Budget(math.inf), None))
    scores: dict[str, float] = {}
    for index in range(len(frames)):
        frame = frames[index]
        if keys is not None and frame.key not in keys:
            continue
        kept = _kept(frame, predicted.of(index, frame))
        rows = view.rows(_with_boxes(frame, kept), split)
        for key in rows.keys:
            scores[key] = kept[int(key.rpartition(" ")[2])].score
        gathering.add(frame, rows)
    if not gathering.keys:
        raise InputError("no box of an object that is there", where=path)
    return gathering.finish(), scores


def _file(boxes: str, source: Source, split: str) -> Path:
    path = Path(boxes).expanduser()
    if not path.is_dir():
        return path
    files = [path / f"predictions_{name}.json" for name in (f"{source.name}-{split}", split)]
    found = [file for file in files if file.is_file()]
    if not found:
        raise InputError(
            f"no boxes of split {split!r}",
            where=path,
            fix=f"evaluate the detector on it: deeprob evaluate run={path} split={split}",
        )
    return found[0]


def _kept(frame: Frame, boxes: list[Box]) -> list[Box]:
    """Of each class the best boxes, as many as the frame has objects."""
    left = Counter(i.class_id for i in frame.instances)
    kept = []
    for box in boxes:
        if left[box.class_id] > 0:
            left[box.class_id] -= 1
            kept.append(box)
    return kept


def _with_boxes(frame: Frame, boxes: list[Box]) -> Frame:
    """A frame whose objects are those that were detected; where they are is not known."""
    unknown = np.eye(4)
    unknown[2, 3] = 1.0
    return replace(frame, instances=tuple(Instance(b.class_id, b.box_xyxy, T_cam_obj=unknown) for b in boxes))
