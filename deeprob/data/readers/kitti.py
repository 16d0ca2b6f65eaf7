"""KITTI's 2-D object detection: a text file of objects for each image.

    <root>/training/image_2/000000.png
    <root>/training/label_2/000000.txt      type, truncated, occluded, alpha, left, top, right, bottom, ...
    <root>/ImageSets/train.txt              names of images, one a line

A line has 15 values, of which the type and the box in pixels, counted from the middle of the first, are read.
Format: https://www.cvlibs.net/datasets/kitti/eval_object.php, devkit_object.zip, readme.txt
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.fields import as_box
from deeprob.data.readers.files import FileSource, check_missing_labels, is_missing
from deeprob.data.readers.lists import Lists
from deeprob.data.readers.reading import OnBadSample, read_image, read_text
from deeprob.errors import InputError
from deeprob.geometry.boxes import to_edges

CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")
DONT_CARE = "DontCare"
_FIELDS = 15
_BOX = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class KittiImage:
    """One image and its label file."""

    image: Path
    label: Path


class KittiSource(FileSource[KittiImage]):
    """Images with boxes of KITTI's types.

    splits: for each split the name of its list in ImageSets, or its share of all images: see
    lists.py. Neighbouring images are often of one drive, so lists that keep drives apart are to be
    preferred. names: the types there are; None: KITTI's eight. DontCare regions are crowds of every class.
    missing_labels, clip_boxes: as DarknetSource. A frame's key is its image's path relative to root.
    """

    default_splits: ClassVar = {split: (split,) for split in ("train", "val")}

    def __init__(
        self,
        root: Path,
        splits: Mapping[str, str | float],
        names: Sequence[str] | None = None,
        missing_labels: str = "error",
        clip_boxes: bool = False,
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        check_missing_labels(missing_labels)
        self.missing_labels, self.clip_boxes = missing_labels, clip_boxes
        self.classes = tuple(names or CLASSES)
        if len(set(self.classes)) < len(self.classes) or DONT_CARE in self.classes:
            raise InputError(f"data.source.names is {list(self.classes)}", expected="each type once")
        inner = self.root / "training"
        self._folder = inner if inner.is_dir() else self.root
        images = self._folder / "image_2"
        if not images.is_dir():
            raise InputError("no such folder", where=images, expected="training/image_2 in data.root")
        unread: list[Path] = []
        lists = Lists(images, self.root / "ImageSets", splits, unread)
        self.pass_over(unread)
        self._items = self.gather(splits, lambda split: [self._item(n, lists) for n in lists.of(split)])
        self.splits = tuple(self._items)

    def items(self, split: str) -> list[KittiImage]:
        return self._items[split]

    def files(self, item: KittiImage) -> Iterable[Path]:
        return item.image, item.label

    def options(self) -> tuple[object, ...]:
        return self.missing_labels, self.clip_boxes

    def read(self, item: KittiImage) -> Frame:
        image = read_image(item.image)
        instances: list[Instance] = []
        crowds: list[Instance] = []
        if not is_missing(item.label, self.missing_labels, "a line for each object, or nothing in it"):
            for number, line in enumerate(read_text(item.label).splitlines(), start=1):
                if not line.strip():
                    continue
                where = f"{item.label} line {number}"
                kind, edges = _parse(line, where, self.classes)
                box = as_box(edges, image.shape, where, "box", self.clip_boxes)
                if kind == DONT_CARE:
                    crowds += [Instance(class_id, box) for class_id in range(len(self.classes))]
                else:
                    instances.append(Instance(self.classes.index(kind), box))
        key = item.image.relative_to(self.root).as_posix()
        return Frame(image, tuple(instances), self.name, key, group=key, crowds=tuple(crowds))

    def _item(self, name: str, lists: Lists) -> KittiImage:
        image = lists.names.get(name, lists.images / f"{name}.png")
        return KittiImage(image, self._folder / "label_2" / f"{name}.txt")


def _parse(line: str, where: str, classes: Sequence[str]) -> tuple[str, list[float]]:
    """Take the type and the edges of the box, counted from the image's corner, out of a line."""
    fields = line.split()
    if len(fields) != _FIELDS:
        results = "; 16 are those of a file of results" if len(fields) == _FIELDS + 1 else ""
        raise InputError(f"{len(fields)} fields{results}", where=where, expected=f"{_FIELDS}")
    if fields[0] not in (*classes, DONT_CARE):
        raise InputError(
            f"type {fields[0][:40]}",
            where=where,
            expected=", ".join(classes[:20]),
            fix="data.source.names=[...] names those of another set",
        )
    values = []
    for name, text in zip(_BOX, fields[4:8], strict=True):
        try:
            values.append(float(text))
        except ValueError:
            values.append(math.nan)
        if not math.isfinite(values[-1]):
            raise InputError(f"{name} is {text[:20]}", where=where, expected="a number of pixels")
    return fields[0], to_edges(values).tolist()
