"""Darknet (YOLO) data sets: one text file of boxes beside each image, class names in a list.

A line is `class cx cy w h`: class counts from 0 in the names file, the rest is relative to the image's width
and height. In pixels, where pixel i covers [i - 0.5, i + 0.5], the left edge is (cx - w/2) W - 0.5.
A line of more values is a polygon, class x y x y ..., of which the box and the mask are made.
Labels lie beside the images, or in `labels/` where the images lie in `images/`.
Format: https://pjreddie.com/darknet/yolo/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from deeprob.data.frame import Frame, Instance
from deeprob.data.readers.coco import decode_mask
from deeprob.data.readers.fields import as_box
from deeprob.data.readers.files import FileSource
from deeprob.data.readers.reading import IMAGE_SUFFIXES, OnBadSample, find_images, read_image, read_text
from deeprob.errors import InputError

_BOX = ("cx", "cy", "w", "h")


class DarknetSource(FileSource[Path]):
    """Images with boxes under `root`, split by folder.

    splits: for each split, patterns over the images' folders relative to root, such as ["2019*", "2022*"].
    names_file: class names, one a line, or a data.yaml with `names`; relative to root.
    A frame's group is its folder (the recording session); its key is the image's path relative to root.
    Raises InputError where root or the names file is missing, a split matches no image, or two share one.
    """

    def __init__(
        self,
        root: Path,
        splits: Mapping[str, Sequence[str]],
        names_file: str = "obj.names",
        on_bad_sample: OnBadSample = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(root, name, on_bad_sample)
        self.classes = _read_names(self.root / names_file)
        self.splits = tuple(splits)
        self._images = _split_by_folder(self.root, splits)

    def items(self, split: str) -> list[Path]:
        return self._images[split]

    def files(self, item: Path) -> Iterable[Path]:
        return item, label_path(item)

    def read(self, item: Path) -> Frame:
        lines = read_text(label_path(item)).splitlines()
        image = read_image(item)
        instances = [
            _parse_object(line, f"{label_path(item)} line {number}", image.shape[:2], len(self.classes))
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]
        relative = item.relative_to(self.root)
        return Frame(
            image=image,
            instances=tuple(instances),
            source=self.name,
            key=relative.as_posix(),
            group=relative.parent.as_posix(),
        )


def label_path(image: Path) -> Path:
    """Find the label file of an image: beside it, or under `labels` where the image lies under `images`."""
    beside = image.with_suffix(".txt")
    parts = image.parts
    if not beside.exists() and "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        return Path(*parts[:last], "labels", *parts[last + 1 :]).with_suffix(".txt")
    return beside


def _split_by_folder(root: Path, splits: Mapping[str, Sequence[str]]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {split: [] for split in splits}
    folders: dict[str, str | None] = {}  # each folder's split, decided once
    total = 0
    for image in find_images(root):
        total += 1
        folder = image.parent.relative_to(root).as_posix()
        if folder not in folders:
            matches = [s for s, patterns in splits.items() if any(fnmatchcase(folder, p) for p in patterns)]
            if len(matches) > 1:
                raise InputError(f"folder {folder} is in the splits {' and '.join(matches)}", where=root)
            folders[folder] = matches[0] if matches else None
        split = folders[folder]
        if split is not None:
            found[split].append(image)
    if total == 0:
        raise InputError(
            "no images in this folder", where=root, expected=f"files {', '.join(IMAGE_SUFFIXES)}"
        )
    for split, images in found.items():
        if not images:
            raise InputError(
                f"split {split!r} matches no folder with images",
                where=root,
                expected=f"patterns over {', '.join(sorted(folders)[:5])}, got {list(splits[split])}",
            )
    return found


def _read_names(path: Path) -> tuple[str, ...]:
    text = read_text(path)
    if path.suffix in (".yaml", ".yml"):
        names = _names_from_yaml(text, path)
    else:
        names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise InputError("no class names", where=path, expected="one name a line, or `names:` in a YAML file")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"class {twice!r} is named twice", where=path)
    return names


def _names_from_yaml(text: str, path: Path) -> tuple[str, ...]:
    """Take `names`, a list or a map from 0, 1, ..., out of a data.yaml."""
    try:
        content = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except Exception as error:  # the parser's errors, and those of what OmegaConf does not take
        raise InputError(f"broken YAML ({error})", where=path) from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(
            "no `names`", where=path, expected="a list of texts, or a map from 0, 1, ... to texts"
        )
    return tuple(names)


def _parse_object(line: str, where: str, size: tuple[int, ...], num_classes: int) -> Instance:
    """Read a line of a box, or of a polygon: the class and at least three corners x y."""
    fields = line.split()
    is_polygon = len(fields) >= 7 and len(fields) % 2 == 1
    if len(fields) != 5 and not is_polygon:
        raise InputError(f"{len(fields)} fields", where=where, expected="class cx cy w h")
    if not (
        fields[0].isascii() and fields[0].isdigit() and len(fields[0]) < 10 and int(fields[0]) < num_classes
    ):
        raise InputError(f"class {fields[0][:20]}", where=where, expected=f"0 to {num_classes - 1}")
    values = []
    for name, text in zip(("x", "y") * len(fields) if is_polygon else _BOX, fields[1:], strict=False):
        try:
            values.append(float(text))
        except ValueError:
            values.append(math.nan)
        if not math.isfinite(values[-1]):
            raise InputError(f"{name} is {text[:20]}", where=where, expected="a number relative to the image")
        if name in "wh" and values[-1] <= 0:
            raise InputError(f"{name} is {text[:20]}", where=where, expected="more than 0")
    height, width = size
    corners = np.array(values).reshape(-1, 2)
    if not is_polygon:
        corners = corners[0] + [[-0.5], [0.5]] * corners[1]
    corners *= (width, height)
    box = as_box([*corners.min(0).tolist(), *corners.max(0).tolist()], size, where, "box")
    mask = decode_mask([corners.ravel().tolist()], (height, width), where) if is_polygon else None
    return Instance(class_id=int(fields[0]), box_xyxy=box, mask=mask)
