"""Darknet (YOLO) data sets: one text file of boxes beside each image, class names in a list.

A line is `class cx cy w h`: class counts from 0 in the names file, the rest is relative to the image's width
and height. In pixels, where pixel i covers [i - 0.5, i + 0.5], the left edge is (cx - w/2) W - 0.5.
A line of more values is a polygon, class x y x y ..., of which the box and the mask are made; or, where a
data.yaml has `kpt_shape`, a box with keypoints, of which the box is taken.
Labels lie beside the images, or in `labels/` where the images lie in `images/`.
Format: https://pjreddie.com/darknet/yolo/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from omegaconf import OmegaConf

from deeprob.config_files import read_yaml
from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.coco import decode_mask
from deeprob.data.readers.fields import as_box
from deeprob.data.readers.files import FileSource, NoSplitError, check_missing_labels, is_missing
from deeprob.data.readers.reading import IMAGE_SUFFIXES, OnBadSample, find_images, read_image, read_text
from deeprob.errors import InputError

_BOX = ("cx", "cy", "w", "h")
_YAML = (".yaml", ".yml")
_NAMES_FILES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")
_KEYPOINTS_FIX = "of keypoints, a data.yaml with kpt_shape must lie in data.root"


class DarknetSource(FileSource[Path]):
    """Images with boxes under `root`, split by folder.

    splits: for each split, patterns over the images' folders relative to root, such as ["2019*", "2022*"].
    names_file: class names, one a line, or a data.yaml with `names`; relative to root. `kpt_shape` in it, or
    in a data.yaml that lies in root, says that lines hold keypoints.
    missing_labels: an image without a label file is an `error`, or `empty`: it shows no object.
    clip_boxes: cut boxes that lie farther than a pixel outside the image, in place of refusing them.
    A frame's group is its folder (the recording session); its key is the image's path relative to root.
    Raises InputError where root or the names file is missing, a split matches no image, or two share one.
    """

    default_splits: ClassVar = {s: ([f"{s}*", f"images/{s}*"],) for s in ("train", "val")}

    def __init__(
        self,
        root: Path,
        splits: Mapping[str, Sequence[str]],
        names_file: str = "obj.names",
        missing_labels: str = "error",
        clip_boxes: bool = False,
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        names = self.root / names_file
        self.classes = _read_names(names)
        self.keypoints = _read_keypoints(names if names.suffix in _YAML else self.root / "data.yaml", names)
        check_missing_labels(missing_labels)
        self.missing_labels, self.clip_boxes = missing_labels, clip_boxes
        unread: list[Path] = []
        folders = _by_folder(self.root, unread)
        self.pass_over(unread)
        self._images = self.gather(splits, lambda split: _matching(folders, split, splits, self.root))
        self.splits = tuple(self._images)

    def items(self, split: str) -> list[Path]:
        return self._images[split]

    def files(self, item: Path) -> Iterable[Path]:
        return item, label_path(item)

    def options(self) -> tuple[object, ...]:
        return self.keypoints, self.missing_labels, self.clip_boxes

    def read(self, item: Path) -> Frame:
        labels, lines = label_path(item), []
        if not is_missing(labels, self.missing_labels, "a line for each object, or nothing in it"):
            lines = read_text(labels).splitlines()
        image = read_image(item)
        instances = []
        seen: set[str] = set()
        for number, line in enumerate(lines, start=1):
            # A line that stands twice, as in sets that were merged, is one object: so Ultralytics takes it.
            words = " ".join(line.split())
            if words and words not in seen:
                seen.add(words)
                where = f"{labels} line {number}"
                fields = _fields(line, where, len(self.classes), self.keypoints)
                instances.append(_instance(*fields, image.shape[:2], where, self.clip_boxes))
        relative = item.relative_to(self.root)
        return Frame(
            image=image,
            instances=tuple(instances),
            source=self.name,
            key=relative.as_posix(),
            group=relative.parent.as_posix(),
        )


def label_path(image: Path) -> Path:
    """Find the label file of an image: beside it, or under `labels` where the image lies under `images`.

    .TXT is one, too: taken for none, its objects would be background to `missing_labels=empty`.
    """
    places = [image]
    parts = image.parts
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        places.append(Path(*parts[:last], "labels", *parts[last + 1 :]))
    found = (place.with_suffix(suffix) for place in places for suffix in (".txt", ".TXT"))
    return next((path for path in found if path.exists()), places[-1].with_suffix(".txt"))


def _by_folder(root: Path, unread: list[Path]) -> dict[str, list[Path]]:
    """Find the images of each folder, named relative to root."""
    found: dict[str, list[Path]] = {}
    for image in find_images(root, unread):
        found.setdefault(image.parent.relative_to(root).as_posix(), []).append(image)
    if not found:
        raise InputError(
            "no images in this folder", where=root, expected=f"files {', '.join(IMAGE_SUFFIXES)}"
        )
    return found


def _matching(
    folders: Mapping[str, list[Path]], split: str, splits: Mapping[str, Sequence[str]], root: Path
) -> list[Path]:
    """List the images of the folders that a split's patterns match, and no other's."""
    images = []
    for folder, of_folder in folders.items():
        matches = [s for s, patterns in splits.items() if any(fnmatchcase(folder, p) for p in patterns)]
        if len(matches) > 1:
            raise InputError(f"folder {folder} is in the splits {' and '.join(matches)}", where=root)
        images += of_folder if matches == [split] else []
    if not images:
        raise NoSplitError(
            f"split {split!r} matches no folder with images",
            where=root,
            expected=f"patterns over {', '.join(sorted(folders)[:5])}, got {list(splits[split])}",
        )
    return images


def _read_names(path: Path) -> tuple[str, ...]:
    if not path.exists():
        there = [name for name in _NAMES_FILES if (path.parent / name).is_file()]
        raise InputError(
            "no such file",
            where=path,
            expected="the class names, one a line, or a data.yaml",
            fix=f"data.source.names_file={there[0] if there else '<file in data.root>'}",
        )
    if path.suffix in _YAML:
        names = _names_from_yaml(_parse_yaml(path), path)
    else:
        names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not names:
        raise InputError("no class names", where=path, expected="one name a line, or `names:` in a YAML file")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"class {twice!r} is named twice", where=path)
    return names


def _parse_yaml(path: Path) -> dict[Any, Any]:
    try:
        content = OmegaConf.to_container(read_yaml(path), resolve=False)
    except FileNotFoundError:
        raise InputError("no such file", where=path) from None
    return content if isinstance(content, dict) else {}


def _names_from_yaml(content: dict[Any, Any], path: Path) -> tuple[str, ...]:
    """Take `names`, a list or a map from 0, 1, ..., out of a data.yaml."""
    names = content.get("names")
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(
            "no `names`", where=path, expected="a list of texts, or a map from 0, 1, ... to texts"
        )
    return tuple(names)


def _read_keypoints(path: Path, names: Path) -> tuple[int, int] | None:
    """Take `kpt_shape`, how many keypoints an object has and of how many values each, out of a data.yaml.

    One that merely lies there, and is not the file of names, may be missing or broken.
    """
    try:
        shape = _parse_yaml(path).get("kpt_shape")
    except InputError:
        if path == names:
            raise
        return None
    if shape is None:
        return None
    whole = isinstance(shape, list) and len(shape) == 2 and all(type(value) is int for value in shape)
    if not (whole and shape[0] > 0 and shape[1] in (2, 3)):
        raise InputError(
            f"kpt_shape is {shape}", where=path, expected="[number of keypoints, 2 or 3 values each]"
        )
    return shape[0], shape[1]


def _fields(
    line: str, where: str, num_classes: int, keypoints: tuple[int, int] | None
) -> tuple[int, list[float], bool]:
    """Split a line into its class, its values relative to the image, and whether these are a polygon."""
    fields = line.split()
    count = len(fields) - 1
    is_polygon = keypoints is None and count >= 6 and count % 2 == 0
    with_keypoints = keypoints is not None and count == 4 + keypoints[0] * keypoints[1]
    if not (count == 4 or is_polygon or with_keypoints):
        more = "class and x y of three corners or more"
        if keypoints:
            more = f"these and {keypoints[0]} keypoints of {keypoints[1]} values, as kpt_shape says"
        fix = None if keypoints else _KEYPOINTS_FIX
        if "," in line or ";" in line:
            fix = "separate the values by spaces"
        elif count == 5:
            fix = "a sixth field is the score of a prediction: leave it out of labels"
        raise InputError(
            f"{len(fields)} fields", where=where, expected=f"class cx cy w h, or {more}", fix=fix
        )
    number = fields[0]
    if not (number.isascii() and number.isdigit() and len(number) < 10 and int(number) < num_classes):
        raise InputError(f"class {number[:20]}", where=where, expected=f"0 to {num_classes - 1}")
    values = []
    names = ("x", "y") * count if is_polygon else (*_BOX, *["keypoint"] * count)
    for name, text in zip(names, fields[1:], strict=False):
        try:
            values.append(float(text))
        except ValueError:
            values.append(math.nan)
        if not math.isfinite(values[-1]):
            raise InputError(f"{name} is {text[:20]}", where=where, expected="a number relative to the image")
        if name in "wh" and values[-1] <= 0:
            raise InputError(f"{name} is {text[:20]}", where=where, expected="more than 0")
    return int(number), values if is_polygon else values[:4], is_polygon


def _instance(
    class_id: int, values: list[float], is_polygon: bool, size: tuple[int, ...], where: str, clip: bool
) -> Instance:
    """Make the box, and of a polygon the mask, of a line's values."""
    height, width = size
    corners = np.array(values).reshape(-1, 2)
    if not is_polygon:
        corners = corners[0] + [[-0.5], [0.5]] * corners[1]
    corners *= (width, height)
    box = as_box([*corners.min(0).tolist(), *corners.max(0).tolist()], size, where, "box", clip)
    mask = decode_mask([corners.ravel().tolist()], (height, width), where, clip) if is_polygon else None
    return Instance(class_id=class_id, box_xyxy=box, mask=mask)
