"""Darknet (YOLO) data sets: one text file of boxes beside each image, class names in a list.

A line is `class cx cy w h`: class counts from 0 in the names file, the rest is relative to the image's width
and height. In pixels, where pixel i covers [i - 0.5, i + 0.5], the left edge is (cx - w/2) W - 0.5.
Labels lie beside the images, or in `labels/` where the images lie in `images/`.
Format: https://pjreddie.com/darknet/yolo/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from deeprob.data.frame import Frame, Instance
from deeprob.data.reading import IMAGE_SUFFIXES, OnBadSample, find_images, read_image, read_text
from deeprob.data.source import FileSource
from deeprob.errors import InputError

BORDER_TOLERANCE = 1.0  # pixels that a box may lie outside the image before it is an error: tools round


class DarknetSource(FileSource[Path]):
    """Images with boxes under `root`, split by folder.

    splits: for each split, patterns over the images' folders relative to root, such as ["2019*", "2022*"].
    names_file: class names, one a line, relative to root.
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
            _parse_box(line, f"{label_path(item)} line {number}", image.shape[:2], len(self.classes))
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
    names = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    if not names:
        raise InputError("no class names", where=path, expected="one name a line")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"class {twice!r} is named twice", where=path)
    return names


def _parse_box(line: str, where: str, size: tuple[int, ...], num_classes: int) -> Instance:
    fields = line.split()
    if len(fields) != 5:
        raise InputError(f"{len(fields)} fields", where=where, expected="class cx cy w h")
    if not (fields[0].isascii() and fields[0].isdigit() and int(fields[0][:9]) < num_classes):
        raise InputError(f"class {fields[0][:20]}", where=where, expected=f"0 to {num_classes - 1}")
    values: dict[str, float] = {}
    for field, text in zip(("cx", "cy", "w", "h"), fields[1:], strict=True):
        try:
            values[field] = float(text)
        except ValueError:
            values[field] = math.nan
        if not math.isfinite(values[field]):
            raise InputError(
                f"{field} is {text[:20]}", where=where, expected="a number relative to the image"
            )
        if field in "wh" and values[field] <= 0:
            raise InputError(f"{field} is {text[:20]}", where=where, expected="more than 0")
    height, width = size
    edges = {
        "left": (values["cx"] - values["w"] / 2) * width,
        "top": (values["cy"] - values["h"] / 2) * height,
        "right": (values["cx"] + values["w"] / 2) * width,
        "bottom": (values["cy"] + values["h"] / 2) * height,
    }
    for edge, value in edges.items():
        limit = width if edge in ("left", "right") else height
        if not -BORDER_TOLERANCE <= value <= limit + BORDER_TOLERANCE:
            raise InputError(
                f"the box's {edge} edge is at {value:.1f} px, outside the image",
                where=where,
                expected=f"0 to {limit}",
            )
        edges[edge] = min(max(value, 0.0), float(limit))
    if edges["right"] <= edges["left"] or edges["bottom"] <= edges["top"]:
        raise InputError("the box lies outside the image", where=where, expected="a part inside it")
    return Instance(class_id=int(fields[0]), box_xyxy=np.array(list(edges.values())) - 0.5)
