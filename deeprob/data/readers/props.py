"""PROPS, the robot data set of the DeepRob course: ten YCB objects on a table, crops and detection frames.

Progress Robot Object Perception Samples, https://deeprob.org. Poses are read by props_pose.py.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.fields import as_box, as_list, as_object, as_text, field, inside, read_json
from deeprob.data.readers.files import FileSource
from deeprob.data.readers.reading import OnBadSample, is_litter, read_bytes, read_image, read_text
from deeprob.data.readers.unpickle import read_pickle
from deeprob.errors import InputError
from deeprob.geometry.boxes import of_image

MD5_TABLE = "classification_md5.tsv"
CLASSES = (
    "master_chef_can",
    "cracker_box",
    "sugar_box",
    "tomato_soup_can",
    "mustard_bottle",
    "tuna_fish_can",
    "gelatin_box",
    "potted_meat_can",
    "mug",
    "large_marker",
)


class PropsClassificationSource(FileSource[tuple[Path, int]]):
    """60,000 crops of 32 x 32 pixels, in one pickle for each object instance, wholly in "train" or "test".

    root: the folder Progress-Objects-Sample. md5_file: a table of file names and MD5 sums, relative to root;
    each file is checked against it before it is unpickled. Without one, MD5_TABLE beside root is used where
    it lies. A frame is one crop, with one box around all.
    """

    unit = "group"  # the crops of one object instance are views of the same thing
    classes = CLASSES
    splits = ("train", "test")

    def __init__(
        self,
        root: Path,
        md5_file: str | None = None,
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        table = self.root / md5_file if md5_file else self.root.parent / MD5_TABLE
        self._md5 = _read_md5(table) if md5_file or table.is_file() else {}
        meta = self.root / "meta.pkl"
        split = field(as_object(self._pickle(meta), meta, "content"), meta, "test_split")
        held_out = {as_text(stem, meta, "test_split") for stem in _as_sequence(split, meta, "test_split")}
        files = sorted(path for path in self.root.glob("*.pkl") if path != meta and not is_litter(path.name))
        self._check_complete({path.stem for path in files}, held_out)
        self._files = {
            "train": [path for path in files if path.stem not in held_out],
            "test": [path for path in files if path.stem in held_out],
        }
        # A file holds some 400 crops, which are asked for one after the other.
        self._instance = functools.lru_cache(maxsize=8)(self._read_instance)

    def _check_complete(self, found: set[str], held_out: set[str]) -> None:
        """Miss the files that the table of MD5 sums names, or, where there is none, the held-out instances.

        The published list of held-out instances may name some that are not published.
        """
        wanted = {Path(name).stem for name in self._md5} - {"meta"} if self._md5 else held_out
        by = "the table of MD5 sums" if self._md5 else "meta.pkl"
        for stem in sorted(wanted - found):
            error = InputError(f"no file {stem}.pkl, which {by} names", where=self.root)
            if self.on_bad_sample == "error":
                raise error
            self.skipped.append(str(error))

    def items(self, split: str) -> list[tuple[Path, int]]:
        items = []
        for path in self._files[split]:
            try:
                items += [(path, index) for index in range(len(self._instance(path)[1]))]
            except InputError as error:
                if self.on_bad_sample == "error":
                    raise
                if str(error) not in self.skipped:
                    self.skipped.append(str(error))
        if not items:
            raise InputError(f"split {split!r} has no crops", where=self.root)
        return items

    def files(self, item: tuple[Path, int]) -> Iterable[Path]:
        return (item[0],)

    def read(self, item: tuple[Path, int]) -> Frame:
        path, index = item
        images, labels = self._instance(path)
        return Frame(
            image=images[index],
            instances=(Instance(int(labels[index]), of_image(images.shape[1:])),),
            source=self.name,
            key=f"{path.name} {index}",
            group=path.stem,
        )

    def _read_instance(self, path: Path) -> tuple[NDArray[np.uint8], list[int]]:
        content = as_object(self._pickle(path), path, "content")
        images = field(content, path, "data")
        labels = _as_sequence(field(content, path, "labels"), path, "labels")
        if not (isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4):
            raise InputError(
                "data is no uint8 array of four dimensions", where=path, expected="(N, 32, 32, 3)"
            )
        if images.shape[1:] != (32, 32, 3):
            raise InputError(f"data has shape {images.shape}", where=path, expected="(N, 32, 32, 3)")
        if len(labels) != len(images):
            raise InputError(
                f"{len(labels)} labels", where=path, expected=f"{len(images)}, one for each image"
            )
        for index, label in enumerate(labels):
            if not isinstance(label, (int, np.integer)) or not 0 <= label < len(CLASSES):
                raise InputError(f"label {index} is {str(label)[:20]}", where=path, expected="0 to 9")
        return images, labels

    def _pickle(self, path: Path) -> object:
        expected = self._md5.get(path.name)
        if self._md5 and expected is None:
            raise InputError("the file is not in the table of MD5 sums", where=path)
        if expected is not None:
            found = hashlib.md5(read_bytes(path), usedforsecurity=False).hexdigest()
            if found != expected:
                raise InputError(f"MD5 {found}", where=path, expected=expected, fix="fetch the file again")
        return read_pickle(path)


class PropsDetectionSource(FileSource[tuple[Path, str, int]]):
    """Frames of 640 x 480 pixels with boxes, in train.json and val.json.

    root: the folder PROPS-Detection-Dataset, with the inner archive unpacked to PROPS-Detection/.
    A file lists [image path, [{"name": class name, "xyxy": [left, top, right, bottom]}, ...]].
    """

    classes = CLASSES
    splits = ("train", "val")

    def __init__(self, root: Path, on_bad_sample: OnBadSample = "error", name: str | None = None) -> None:
        super().__init__(root, name, on_bad_sample)
        inner = self.root / "PROPS-Detection.tar.gz"
        if inner.is_file() and not (self.root / "PROPS-Detection").is_dir():
            raise InputError("not unpacked", where=inner, fix="run: deeprob fetch props_detection")
        self._labels = {split: read_json(self.root / f"{split}.json") for split in self.splits}

    def items(self, split: str) -> list[tuple[Path, str, int]]:
        path = self.root / f"{split}.json"
        entries = as_list(self._labels[split], path, "the file")
        if not entries:
            raise InputError("no frames", where=path)
        return [(path, split, index) for index in range(len(entries))]

    def files(self, item: tuple[Path, str, int]) -> Iterable[Path]:
        path, split, index = item
        return path, self._image(self._labels[split][index], f"{path} frame {index}")[0]

    def read(self, item: tuple[Path, str, int]) -> Frame:
        path, split, index = item
        where = f"{path} frame {index}"
        image_path, objects = self._image(self._labels[split][index], where)
        image = read_image(image_path)
        instances = []
        for number, entry in enumerate(as_list(objects, where, "objects")):
            place = f"{where} object {number}"
            entry = as_object(entry, place, "object")
            class_name = as_text(field(entry, place, "name"), place, "name")
            if class_name not in CLASSES:
                raise InputError(f"name is {class_name[:40]!r}", where=place, expected=", ".join(CLASSES))
            box = as_box(field(entry, place, "xyxy"), image.shape, place, "xyxy")
            instances.append(Instance(CLASSES.index(class_name), box))
        key = image_path.relative_to(self.root).as_posix()
        return Frame(image, tuple(instances), self.name, key, group=key)

    def _image(self, entry: object, where: str) -> tuple[Path, object]:
        pair = as_list(entry, where, "frame")
        if len(pair) != 2:
            raise InputError(f"frame has {len(pair)} parts", where=where, expected="image path and objects")
        return inside(self.root, as_text(pair[0], where, "image path"), where, "image path"), pair[1]


def _as_sequence(value: object, path: Path, name: str) -> list[Any]:
    """Check for a list in a pickle, or an array or set that stands for one."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return list(value.tolist())
    return sorted(value) if isinstance(value, (set, frozenset)) else as_list(value, path, name)


def _read_md5(path: Path) -> dict[str, str]:
    """Read a table of file names and MD5 sums, one pair a line; a line of headings is passed over."""
    table = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        parts = line.split()
        if not parts or parts == ["file", "md5"]:
            continue
        if len(parts) != 2 or len(parts[1]) != 32:
            raise InputError("no file name and MD5 sum", where=f"{path} line {number}")
        table[parts[0]] = parts[1].lower()
    return table
