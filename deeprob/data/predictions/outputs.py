"""Files of predictions that grow frame by frame: the formats that `files.py` reads, of any length.

What is said of a frame becomes entries: plain JSON, kept in a journal until the last frame. `finish` then
makes the file of all entries. Label maps are files of their own, written at once.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame
from deeprob.data.predictions.bop_csv import COLUMNS
from deeprob.data.predictions.files import Box, Classified, Pose
from deeprob.data.predictions.names import Naming
from deeprob.errors import InputError
from deeprob.geometry.boxes import to_coco
from deeprob.writing import atomic_file, plain_cell

Entry = Any
"""Plain JSON: what is said of one object, or of one frame."""


class Output(Protocol):
    """A file of predictions. name: of the file or folder."""

    @property
    def name(self) -> str: ...

    def entries(self, folder: Path, number: int, frame: Frame, predictions: Sequence[Any]) -> list[Entry]:
        """What the file will hold of frame `number` of the input.

        folder: where files of a frame's own are written at once.
        """
        ...

    def finish(self, folder: Path, entries: Iterable[Entry]) -> None:
        """Write the file into a folder, whole or not at all."""
        ...


class BoxOutput:
    """Boxes as COCO takes them: predictions.json."""

    name = "predictions.json"

    def __init__(self, names: Naming) -> None:
        self.names = names

    def entries(self, folder: Path, number: int, frame: Frame, predictions: Sequence[Box]) -> list[Entry]:
        return [self.entry(frame.key, box) for box in predictions]

    def entry(self, key: str, box: Box) -> dict[str, Entry]:
        """One box of the frame that `key` names, with its mask where it has one."""
        entry = {
            **self.names.of_key(key),
            "category_id": self.names.of_class(box.class_id),
            "bbox": to_coco(box.box_xyxy).tolist(),
            "score": box.score,
        }
        return entry if box.segmentation is None else {**entry, "segmentation": box.segmentation}

    def finish(self, folder: Path, entries: Iterable[Entry]) -> None:
        with atomic_file(folder / self.name) as file:
            between = "["
            for entry in entries:
                file.write(f"{between}{json.dumps(entry)}")
                between = ",\n"
            file.write("]\n" if between != "[" else "[]\n")


class PoseOutput:
    """Poses as the BOP challenge takes them, millimetres: predictions.csv.

    A frame without numbers of its own is scene 0, image 0, 1, ... in the order of the input; a class without
    one is its index and 1, since BOP counts objects from 1.
    """

    name = "predictions.csv"

    def __init__(self, names: Naming) -> None:
        self.names = names

    def entries(self, folder: Path, number: int, frame: Frame, predictions: Sequence[Pose]) -> list[Entry]:
        named = self.names.of_key(frame.key)
        image = named["image_id"]
        scene, image = (0, number) if isinstance(image, str) else (named.get("scene_id", 0), image)
        return [[scene, image, *self._fields(pose)] for pose in predictions]

    def _fields(self, pose: Pose) -> list[Entry]:
        name = self.names.of_class(pose.class_id)
        R, t = pose.T_cam_obj[:3, :3], 1000 * pose.T_cam_obj[:3, 3]
        parts = [" ".join(map(repr, values.ravel().tolist())) for values in (R, t)]
        return [pose.class_id + 1 if isinstance(name, str) else name, float(pose.score), *parts, -1]

    def finish(self, folder: Path, entries: Iterable[Entry]) -> None:
        write_table(folder / self.name, COLUMNS, entries)


class LabelMapOutput:
    """Label images, <key of the frame>.png, 0 is background: the folder predictions.

    Raises InputError for a frame whose label image would take the place of another's, as a.jpg's of a.png's.
    """

    name = "predictions"

    def __init__(self) -> None:
        self._begun = False

    def entries(
        self, folder: Path, number: int, frame: Frame, predictions: Sequence[NDArray[np.integer[Any]]]
    ) -> list[Entry]:
        name = PurePosixPath(frame.key).with_suffix(".png")
        if self._begun and (folder / self.name / name).exists():  # the first may have been cut off before
            raise InputError(
                f"{name} is another frame's label map",
                where=frame.key,
                expected="names that differ in more than their ending",
            )
        self._begun = True
        for labels in predictions:
            write_label_map(folder / self.name / name, labels)
        return [str(name)] * len(predictions)

    def finish(self, folder: Path, entries: Iterable[Entry]) -> None:
        deque(entries, maxlen=0)  # the files are there, but the caller counts frames while they are read
        (folder / self.name).mkdir(parents=True, exist_ok=True)  # of no frames at all


def write_label_map(path: Path, labels: NDArray[np.integer[Any]]) -> None:
    """Write a label map (H, W) of values up to 255 as PNG: indices into a palette, which viewers show."""
    from PIL import Image

    image = Image.fromarray(labels.astype(np.uint8), mode="P")
    image.putpalette(palette(256).tobytes())
    with atomic_file(path, "wb") as file:
        image.save(file, "PNG")


def palette(num_classes: int) -> NDArray[np.uint8]:
    """A colour for each class, uint8 (C, 3), 0 black: those of Pascal VOC, whose bits are spread evenly."""
    value = np.arange(num_classes)
    colours = np.zeros((num_classes, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (value >> channel & 1) << (7 - bit)
        value >>= 3
    return colours.astype(np.uint8)


class ClassOutput:
    """Classes, one line an object or image: predictions.csv.

    Columns: key of the frame, left, top, width, height of the box in pixels from the image's corner, class,
    score, and the probability of every class.
    """

    name = "predictions.csv"

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes

    def entries(
        self, folder: Path, number: int, frame: Frame, predictions: Sequence[Classified]
    ) -> list[Entry]:
        return [
            [
                plain_cell(frame.key),
                *(["", "", "", ""] if one.box_xyxy is None else to_coco(one.box_xyxy).tolist()),
                plain_cell(self.classes[one.class_id]),
                one.score,
                *one.probabilities.tolist(),
            ]
            for one in predictions
        ]

    def finish(self, folder: Path, entries: Iterable[Entry]) -> None:
        header = [
            "key",
            "left",
            "top",
            "width",
            "height",
            "class",
            "score",
            *(f"p {name}" for name in self.classes),
        ]
        write_table(folder / self.name, header, entries)


class RowOutput:
    """Numbers, one line a sample: predictions.csv."""

    name = "predictions.csv"

    def entries(self, folder: Path, number: int, frame: Frame, predictions: Sequence[Any]) -> list[Entry]:
        return [[plain_cell(frame.key), *np.asarray(row).ravel().tolist()] for row in predictions]

    def finish(self, folder: Path, entries: Iterable[Entry]) -> None:
        write_table(folder / self.name, None, entries)


def write_table(path: Path, header: Sequence[str] | None, rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, whole or not at all."""
    with atomic_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        for row in rows:
            if header is None:
                header = ["key", *(f"value {i}" for i in range(len(row) - 1))]
                writer.writerow(header)
                header = ()
            elif header:
                writer.writerow(header)
                header = ()
            writer.writerow(row)
        if header:
            writer.writerow(header)
