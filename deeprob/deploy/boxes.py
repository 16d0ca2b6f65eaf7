"""Where the boxes of a second stage come from: a file, a detector's run, the labels, or the whole picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeprob.data.batches.materialise import View
from deeprob.data.frame import Frame, Instance
from deeprob.data.predictions.files import read_boxes
from deeprob.data.predictions.names import Names
from deeprob.deploy.given import Given
from deeprob.deploy.predictor import Predictor
from deeprob.errors import InputError
from deeprob.geometry.boxes import of_image

Stream = Iterable[Given]
Boxing = Callable[[Stream], Iterator[Given]]
"""Gives the same frames with boxes in them."""


def whole_images(stream: Stream) -> Iterator[Given]:
    """Each picture as one box."""
    for given in stream:
        if isinstance(given.item, Frame):
            whole = _instance(0, of_image(given.item.image.shape))
            given = replace(given, item=replace(given.item, instances=(whole,)))
        yield given


def from_file(path: Path, classes: Sequence[str], names: Names, kind: str) -> Boxing:
    """Boxes as COCO takes them, by the key of the frame or the data set's number. kind: `View.boxes`.

    Raises InputError that names the entry.
    """
    predicted = read_boxes(path, _Classes(names, classes, kind))

    def of(frame: Frame) -> tuple[Instance, ...]:
        number = names.of_key(frame.key)
        known = (number["scene_id"], number["image_id"]) if "scene_id" in number else number["image_id"]
        found = [*predicted.by_image.get(known, ())]
        found += predicted.by_image.get(frame.key, ()) if known != frame.key else ()
        return tuple(_instance(box.class_id, box.box_xyxy) for box in found)

    def boxed(stream: Stream) -> Iterator[Given]:
        matched, key = not predicted.by_image, ""
        for given in stream:
            key = key or given.key
            frame = given.item
            if isinstance(frame, Frame):
                instances = of(frame)
                matched = matched or bool(instances)
                given = replace(given, item=replace(frame, instances=instances))
            yield given
        if key and not matched:
            example = next(iter(predicted.by_image))
            raise InputError(
                f"boxes in images such as {example}, and none of the input's",
                where=path,
                expected=f"image_id such as {key}",
            )

    return boxed


def from_detector(detector: Predictor, score: float, classes: Sequence[str], kind: str) -> Boxing:
    """Boxes that another run's model finds, with at least a score; of a class by its name.

    Raises InputError for a run that finds no boxes, or whose classes are all others where they must be named.
    """
    if not detector.task.finds_boxes:
        raise InputError(
            f"a run of {detector.task.name} finds no boxes",
            where="detector",
            expected="a detector's run folder",
        )
    theirs = detector.experiment.data.classes
    ids = {i: classes.index(name) for i, name in enumerate(theirs) if name in classes}
    if kind == "named" and not ids:
        raise InputError(
            f"the detector finds {', '.join(theirs)}",
            where="detector",
            expected=f"some of {', '.join(classes)}",
        )

    def boxed(stream: Stream) -> Iterator[Given]:
        for predicted in detector(stream):
            frame = predicted.given.item
            if predicted.predictions is None or not isinstance(frame, Frame):
                yield replace(predicted.given, item=None, why=predicted.why)
                continue
            found = [box for box in predicted.predictions if box.score >= score]
            instances = [
                _instance(ids.get(box.class_id, 0), box.box_xyxy)
                for box in found
                if kind != "named" or box.class_id in ids
            ]
            yield replace(predicted.given, item=replace(frame, instances=tuple(instances)))

    return boxed


def boxing(view: View, given: Boxing | None, labelled: bool) -> Boxing | None:
    """What gives a view the boxes it needs; None where it needs none, or the labels have them.

    given: what was asked for. labelled: whether the frames come with labels. Raises InputError.
    """
    if not view.boxes:
        if given is not None:
            raise InputError("this run's model takes whole frames", fix="leave out boxes= and detector=")
        return None
    if given is not None or labelled:
        return given
    if view.boxes == "named":
        raise InputError(
            "this run's model looks at objects", expected="boxes=<COCO JSON> or detector=<run folder>"
        )
    return whole_images


def _instance(class_id: int, box: Any) -> Instance:
    # A view of poses asks for one; what is predicted does not depend on it.
    return Instance(class_id, np.asarray(box, np.float64), T_cam_obj=np.eye(4))


class _Classes(Names):
    """Names whose classes are those of another model; `any` class will do where only boxes are asked for."""

    def __init__(self, names: Names, classes: Sequence[str], kind: str) -> None:
        vars(self).update(vars(names))
        self._kind, self._wanted = kind, tuple(classes)

    def class_id(self, value: Any, where: str) -> int:
        if value in self._wanted:
            return self._wanted.index(value)
        if self._kind == "any":
            return 0
        return super().class_id(value, where)
