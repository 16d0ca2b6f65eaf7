"""COCO data sets: one JSON file for each split, with boxes and masks (polygons, or run lengths).

Format: https://cocodataset.org/#format-data. A box is [x, y, width, height], pixels from the image's corner.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.fields import (
    as_box,
    as_flag,
    as_int,
    as_list,
    as_numbers,
    as_object,
    as_text,
    field,
    inside,
    read_json,
)
from deeprob.data.readers.files import FileSource, NoSplitError
from deeprob.data.readers.image_headers import wrong_size
from deeprob.data.readers.reading import OnBadSample, read_image
from deeprob.errors import InputError
from deeprob.overrides import shell


@dataclass(frozen=True)
class CocoImage:
    """One image of a split, and its annotations as the file has them."""

    labels: Path
    folder: Path
    path: Path
    image_id: int
    size: tuple[int, int]
    annotations: tuple[tuple[int, Any], ...]  # each with its position in the file


class CocoSource(FileSource[CocoImage]):
    """Images with boxes and masks.

    annotations: for each split its JSON file, relative to root or absolute. images: for each split its folder
    of images, likewise; a split not named has them in root. Annotations with iscrowd become the frame's
    crowds; crowds="objects" takes them as objects, for CVAT's exports mark every drawn mask so. clip_boxes:
    cut boxes that lie farther than a pixel outside the image, in place of refusing them.
    The classes are the categories in order of their ids, the same in every split's file; where two have one
    name, their ids are part of it.
    """

    default_splits: ClassVar = {split: (f"annotations/instances_{split}.json",) for split in ("train", "val")}

    def __init__(
        self,
        root: Path,
        annotations: Mapping[str, str],
        images: Mapping[str, str] | None = None,
        clip_boxes: bool = False,
        crowds: str = "regions",
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        if crowds not in ("regions", "objects"):
            raise InputError(f"data.source.crowds is {crowds!r}", expected="regions or objects")
        self.clip_boxes, self.crowds = clip_boxes, crowds
        folders = images or {}
        self._items = self.gather(
            annotations,
            lambda split: self._list(
                split, self.root / annotations[split], self.root / folders.get(split, "")
            ),
        )
        self.splits = tuple(self._items)

    def _list(self, split: str, path: Path, folder: Path) -> list[CocoImage]:
        if not path.exists():
            raise NoSplitError(
                "no such file",
                where=path,
                expected=f"the annotations of split {split!r}",
                fix=_other_files(self.root, split),
            )
        content = as_object(read_json(path), path, "the file")
        ids, classes = _categories(content, path)
        if self.class_numbers and (ids, classes) != (self.class_numbers, self.classes):
            raise InputError("other categories than the first split's", where=path)
        self.class_numbers, self.classes = ids, classes
        if self.crowds == "regions":
            self._tell_of_crowds(content, path)
        return _images(content, path, folder)

    def _tell_of_crowds(self, content: dict[str, Any], path: Path) -> None:
        """Say where most annotations are crowds: of such there are few. Raises InputError where all are."""
        entries = as_list(field(content, path, "annotations"), path, "annotations")
        count = sum(isinstance(entry, dict) and entry.get("iscrowd") in (1, "1") for entry in entries)
        if 2 * count <= len(entries):
            return
        told = f"{count} of {len(entries)} annotations have iscrowd, and nothing is trained on them"
        fix = "data.source.crowds=objects takes them as objects; CVAT marks every drawn mask so"
        if count == len(entries):
            raise InputError(told, where=path, expected="objects", fix=fix)
        self.passed_over.append(f"{path}: {told}; {fix}")

    def items(self, split: str) -> list[CocoImage]:
        return self._items[split]

    def number_of(self, item: CocoImage) -> int:
        return item.image_id

    def key_of(self, item: CocoImage) -> str:
        inside = item.path.is_relative_to(self.root)
        return item.path.relative_to(self.root if inside else item.folder).as_posix()

    def options(self) -> tuple[object, ...]:
        return self.clip_boxes, self.crowds

    def files(self, item: CocoImage) -> Iterable[Path]:
        return item.labels, item.path

    def read(self, item: CocoImage) -> Frame:
        image = read_image(item.path)
        if image.shape[:2] != item.size:
            raise wrong_size(image.shape, item.size, item.path, item.labels.name)
        instances: list[Instance] = []
        crowds: list[Instance] = []
        for index, entry in item.annotations:
            where = f"{item.labels} annotation {index}"
            category = as_int(field(entry, where, "category_id"), where, "category_id")
            if category not in self.class_numbers:
                raise InputError(f"category_id is {category}", where=where, expected="one of the categories")
            x, y, width, height = as_numbers(field(entry, where, "bbox"), 4, where, "bbox").tolist()
            box = as_box([x, y, x + width, y + height], item.size, where, "bbox", self.clip_boxes)
            mask = None
            if entry.get("segmentation"):
                mask = decode_mask(entry["segmentation"], item.size, where, self.clip_boxes)
            is_crowd = as_flag(entry.get("iscrowd"), where, "iscrowd") and self.crowds == "regions"
            kind = crowds if is_crowd else instances
            number = self.class_numbers.index(category)
            kind.append(Instance(number, box, mask, area=_area(entry, where)))
        key = self.key_of(item)
        return Frame(image, tuple(instances), self.name, key, group=key, crowds=tuple(crowds))


def _other_files(root: Path, split: str) -> str | None:
    """What to say where other JSON files than the config's are there, as tools name them."""
    found = sorted(path for folder in ("", "*/") for path in root.glob(f"{folder}*.json"))
    if not found:
        return None
    with contextlib.suppress(InputError, TypeError):  # it is none of labelme's, then
        if "shapes" in read_json(found[0]):
            return "these are labelme's files: labelme2coco makes one of them"
    name = next((path for path in found if split in str(path.relative_to(root))), found[0])
    said = shell(f"data.source.annotations.{split}", name.relative_to(root).as_posix())
    return (
        f"of the {len(found)} JSON files here say one: {said} data.source.images.{split}=<its images' folder>"
    )


def _area(entry: dict[str, Any], where: str) -> float | None:
    """What the annotation says of its object's size, pixels; None where it says nothing."""
    if entry.get("area") is None:
        return None
    area = float(as_numbers([entry["area"]], 1, where, "area")[0])
    if area < 0:
        raise InputError(f"area is {area:g}", where=where, expected="0 or more")
    return area


def decode_mask(
    segmentation: Any, size: tuple[int, int], where: object, clip: bool = False
) -> NDArray[np.bool_]:
    """Turn polygons [[x, y, ...], ...] or run lengths {"size": [H, W], "counts": ...} into bool (H, W).

    clip: corners may lie outside the image, by up to its size.
    """
    from pycocotools import mask as coco

    height, width = size
    try:
        if isinstance(segmentation, list):
            polygons = []
            for polygon in segmentation:
                count = len(as_list(polygon, where, "segmentation"))
                if count < 6 or count % 2:
                    raise InputError(
                        f"polygon of {count} values", where=where, expected="an even number, 6 or more"
                    )
                corners = as_numbers(polygon, count, where, "segmentation").reshape(-1, 2)
                limits = np.array([width, height])
                beyond = limits if clip else 1
                if (corners < -beyond).any() or (corners > limits + beyond).any():
                    raise InputError(
                        "segmentation lies outside the image", where=where, expected=f"{width} x {height}"
                    )
                polygons.append(corners.ravel().tolist())
            runs = coco.merge(coco.frPyObjects(polygons, height, width))
        else:
            runs = _run_lengths(as_object(segmentation, where, "segmentation"), size, where)
        return np.asarray(coco.decode(runs), bool)
    except InputError:
        raise
    except Exception as error:  # pycocotools raises plain exceptions of several kinds
        raise InputError(f"segmentation cannot be decoded ({error})", where=where) from None


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Run lengths of a mask bool (H, W) as COCO's files of results have them, compressed to a text."""
    from pycocotools import mask as coco

    runs = coco.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": runs["counts"].decode("ascii")}


def _run_lengths(runs: dict[str, Any], size: tuple[int, int], where: object) -> Any:
    from pycocotools import mask as coco

    height, width = as_numbers(field(runs, where, "size"), 2, where, "segmentation.size")
    if (height, width) != size:
        raise InputError(
            f"segmentation of {width:g} x {height:g}", where=where, expected=f"{size[1]} x {size[0]}"
        )
    counts = field(runs, where, "counts")
    if isinstance(counts, list):
        counts = [as_int(count, where, "segmentation.counts") for count in counts]
        if sum(counts) != size[0] * size[1]:
            raise InputError(
                f"run lengths of {sum(counts)} pixels", where=where, expected=str(size[0] * size[1])
            )
        return coco.frPyObjects({"size": list(size), "counts": counts}, *size)
    text = as_text(counts, where, "segmentation.counts")
    if not all(48 <= ord(character) < 112 for character in text) or ord(text[-1]) - 48 & 0x20:
        raise InputError("segmentation.counts is no compressed run-length text", where=where)
    return {"size": list(size), "counts": text.encode("ascii")}


def _categories(content: dict[str, Any], path: Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    named: dict[int, str] = {}
    for index, entry in enumerate(as_list(field(content, path, "categories"), path, "categories")):
        where = f"{path} category {index}"
        entry = as_object(entry, where, "category")
        category = as_int(field(entry, where, "id"), where, "id")
        if category in named:
            raise InputError(f"id {category} is given twice", where=where)
        named[category] = as_text(field(entry, where, "name"), where, "name")
    if not named:
        raise InputError("no categories", where=path)
    times = Counter(named.values())
    ids = tuple(sorted(named))
    return ids, tuple(named[i] if times[named[i]] == 1 else f"{named[i]} ({i})" for i in ids)


def _images(content: dict[str, Any], path: Path, folder: Path) -> list[CocoImage]:
    annotations: dict[int, list[tuple[int, Any]]] = {}
    seen: set[int] = set()
    for index, entry in enumerate(as_list(field(content, path, "annotations"), path, "annotations")):
        where = f"{path} annotation {index}"
        entry = as_object(entry, where, "annotation")
        if "id" in entry:
            annotation = as_int(entry["id"], where, "id")
            if annotation in seen:
                raise InputError(f"id {annotation} is given twice", where=where)
            seen.add(annotation)
        image_id = as_int(field(entry, where, "image_id"), where, "image_id")
        annotations.setdefault(image_id, []).append((index, entry))
    images: dict[int, CocoImage] = {}
    for index, entry in enumerate(as_list(field(content, path, "images"), path, "images")):
        where = f"{path} image {index}"
        entry = as_object(entry, where, "image")
        image_id = as_int(field(entry, where, "id"), where, "id")
        if image_id in images:
            raise InputError(f"id {image_id} is given twice", where=where)
        height, width = (as_int(field(entry, where, n), where, n) for n in ("height", "width"))
        file = inside(
            folder, as_text(field(entry, where, "file_name"), where, "file_name"), where, "file_name"
        )
        images[image_id] = CocoImage(
            path, folder, file, image_id, (height, width), tuple(annotations.pop(image_id, ()))
        )
    if annotations:
        lost = min(annotations)
        where = f"{path} annotation {annotations[lost][0][0]}"
        raise InputError(f"image_id is {lost}, which no image has", where=where)
    if not images:
        raise InputError("no images", where=path)
    return list(images.values())
