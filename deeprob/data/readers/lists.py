"""Splits of a folder of images: lists of names, shares of all, or folders in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from deeprob.data.readers.fields import inside
from deeprob.data.readers.files import NoSplitError
from deeprob.data.readers.reading import find_images, list_folder, read_text
from deeprob.errors import InputError

SHARES = "without lists, shares will do: 'data.source.splits={train: 0.8, val: 0.2}'"


class Lists:
    """Which images are in which split.

    images: the folder that names count from; without their suffix they are `names`, each with its file.
    lists: the folder of the files <value>.txt, one name a line. splits: for each split the name of its list,
    or of a folder of images, or its share of all, a number; of shares, images are dealt out by a hash of
    their names, the same every time. Raises InputError where two images share a name, or shares are over 1.
    """

    def __init__(
        self, images: Path, lists: Path, splits: Mapping[str, str | float], unread: list[Path]
    ) -> None:
        self.images, self.lists, self.splits = images, lists, splits
        self.names: dict[str, Path] = {}
        for path in find_images(images, unread):
            name = path.relative_to(images).with_suffix("").as_posix()
            if name in self.names:
                raise InputError(f"another image has the same name: {self.names[name].name}", where=path)
            self.names[name] = path
        self._shares = _shares(splits)
        self._owner: dict[str, str] = {}

    def of(self, split: str) -> list[str]:
        """List the names of a split. Raises NoSplitError where it is not there, InputError for a bad list."""
        if self._shares:
            found = self._dealt(split)
        else:
            value = str(self.splits[split])
            path = self.lists / (value if value.endswith(".txt") else f"{value}.txt")
            folder = self.images / value
            if not path.is_file() and folder.is_dir() and any(list_folder(folder)):
                found = [name for name in self.names if self.names[name].is_relative_to(folder)]
            else:
                found = self._listed(path)
        if not found:
            raise NoSplitError(f"split {split!r} has no images", where=self.images)
        for name in found:
            if self._owner.setdefault(name, split) != split:
                raise InputError(
                    f"image {name} is in the splits {self._owner[name]} and {split}", where=self.images
                )
        return found

    def _listed(self, path: Path) -> list[str]:
        if not path.is_file():
            there = [entry.stem for entry in sorted(self.lists.glob("*.txt"))]
            fix = (
                f"there are lists {', '.join(there[:5])}: say which in data.source.splits"
                if there
                else SHARES
            )
            raise NoSplitError("no such file", where=path, expected="the name of an image a line", fix=fix)
        found: dict[str, None] = {}
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            name = self._name(line.strip())
            if not name:
                continue
            where = f"{path} line {number}"
            inside(self.images, name, where, "name")
            if name in found:
                raise InputError(f"{name} is named twice", where=where)
            found[name] = None
        return list(found)

    def _name(self, line: str) -> str:
        """The name that a line means: some lists have suffixes, folders, or a flag behind."""
        forms = (
            [line, line.rpartition(" ")[0].strip()] if line.split()[-1:] in (["1"], ["-1"], ["0"]) else [line]
        )
        forms += [Path(form).with_suffix("").as_posix() for form in forms if form]
        forms += [Path(form).stem for form in forms if form]
        return next((form for form in forms if form in self.names), line)

    def _dealt(self, split: str) -> list[str]:
        order = sorted(self.names, key=lambda name: hashlib.sha256(name.encode("utf-8", "replace")).digest())
        start, ends = 0.0, {}
        for name, share in self._shares.items():
            ends[name] = (round(start * len(order)), round((start + share) * len(order)))
            start += share
        first, end = ends[split]
        return sorted(order[first:end])


def _shares(splits: Mapping[str, str | float]) -> dict[str, float]:
    """The shares of the splits; none where they are names."""
    numbers: dict[str, float] = {}
    for split, value in splits.items():
        try:
            numbers[split] = float(value)
        except ValueError:
            continue
    if not numbers:
        return {}
    if (
        len(numbers) < len(splits)
        or not all(0 < n <= 1 for n in numbers.values())
        or sum(numbers.values()) > 1.0001
    ):
        raise InputError(
            f"data.source.splits is {dict(splits)}",
            expected="names of lists, or shares of all images, above 0 and together at most 1",
        )
    return numbers
