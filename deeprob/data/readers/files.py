"""What the readers of data sets in files share."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame
from deeprob.data.readers.reading import Frames, OnBadSample, fingerprint, read_plane
from deeprob.data.source import Source
from deeprob.errors import InputError

Item = TypeVar("Item")
VERSION = 3  # counted up where a reader makes something else of the same files: caches of old labels end
RENDERED = "render.json"  # what `deeprob render` leaves in a folder: its pictures are simulated


class NoSplitError(InputError):
    """What a split is made of is not there."""


class FileSource(Source, Generic[Item]):
    """A Source over files below `root`: lists the items of a split, and reads each when it is asked for.

    A subclass sets `classes` and `splits`. on_bad_sample: "error" raises at a bad sample, "skip" leaves it
    out and adds its line to `skipped`. Raises InputError where root is no folder.
    """

    root: Path
    unit = "frame"
    # split -> the values that the configs give it: some of these may be lacking, none that a user asks for
    default_splits: ClassVar[Mapping[str, tuple[object, ...]]] = {}

    def __init__(self, root: Path, name: str | None, on_bad_sample: OnBadSample) -> None:
        self.root = Path(root).expanduser()
        self.name = name or self.root.name
        if on_bad_sample not in ("error", "skip"):
            raise InputError(f"data.source.on_bad_sample is {on_bad_sample!r}", expected="error or skip")
        self.on_bad_sample: OnBadSample = on_bad_sample
        self.skipped: list[str] = []
        self.passed_over: list[str] = []  # a line for pictures of kinds that are not read
        self.real = not (self.root / RENDERED).is_file()
        expect_root(self.root, name)

    @abstractmethod
    def items(self, split: str) -> Sequence[Item]:
        """List what the split holds, one for each frame."""

    @abstractmethod
    def read(self, item: Item) -> Frame:
        """Read one frame. Raises InputError that names the file and the field."""

    @abstractmethod
    def files(self, item: Item) -> Iterable[Path]:
        """Name the files that a frame is read from, or whole folders of them."""

    def number_of(self, item: Item) -> Hashable | None:
        """The data set's own number of an image, where it has one."""
        return None

    def key_of(self, item: Item) -> str | None:
        """The key of the frame that `read` makes of an item, where it is known without reading."""
        return None

    def options(self) -> tuple[object, ...]:
        """List the settings beside the classes that change what is read from the same files."""
        return ()

    def frames(self, split: str) -> Frames[Item]:
        self.check_split(split)
        return Frames(self.items(split), self.read, self.on_bad_sample, self.skipped)

    def fingerprint(self, split: str) -> str:
        """Name the split's content: another name when any of its files, or an option, changes."""
        self.check_split(split)
        paths = dict.fromkeys(path for item in self.items(split) for path in self.files(item))
        return fingerprint(type(self).__name__, VERSION, self.classes, self.options(), *paths)

    def image_numbers(self, split: str) -> list[tuple[Hashable, str | None]]:
        numbered = ((self.number_of(item), self.key_of(item)) for item in self.items(split))
        return [(number, key) for number, key in numbered if number is not None]

    def gather(self, splits: Mapping[str, Any], find: Callable[[str], list[Item]]) -> dict[str, list[Item]]:
        """Find the items of each split; those of a default one that is not there are left out.

        find: raises NoSplitError where the split is not there.
        """
        found: dict[str, list[Item]] = {}
        absent: list[NoSplitError] = []
        for split, value in splits.items():
            try:
                found[split] = find(split)
            except NoSplitError as error:
                plain = value if isinstance(value, str) else list(value)
                if plain not in self.default_splits.get(split, ()):
                    raise
                absent.append(error)
        if absent and not found:
            raise absent[0]
        return found

    def pass_over(self, unread: Sequence[Path]) -> None:
        """Note pictures of kinds that are not read."""
        if unread:
            kinds = ", ".join(sorted({path.suffix.lower() for path in unread}))
            count = "1 picture" if len(unread) == 1 else f"{len(unread)} pictures"
            self.passed_over.append(f"{count} of kinds that are not read ({kinds}), such as {unread[0]}")

    def check_split(self, split: str) -> None:
        """Raise InputError for an unknown split."""
        if split not in self.splits:
            raise InputError(f"no split {split!r}", where=self.root, expected=" or ".join(self.splits))


def check_missing_labels(value: str) -> None:
    """Raise InputError unless a value of the option missing_labels is one."""
    if value not in ("error", "empty"):
        raise InputError(f"data.source.missing_labels is {value!r}", expected="error or empty")


def is_missing(path: Path, missing_labels: str, expected: str) -> bool:
    """Whether an image has no label file. Raises InputError where that is an error."""
    if os.path.lexists(path):
        return False
    if missing_labels == "error":
        raise InputError(
            "no such file",
            where=path,
            expected=expected,
            fix="data.source.missing_labels=empty takes images without a file as images without objects",
        )
    return True


def read_mask(path: Path, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Read a mask image, not 0 where the object is: bool (H, W). Raises InputError for another size."""
    return np.asarray(same_size(read_plane(path), size, path), bool)


def read_depth(path: Path, metres: float, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Read a 16-bit depth image in units of `metres`: float32 (H, W), 0 where there is no reading."""
    plane = same_size(read_plane(path), size, path)
    if plane.dtype != np.uint16:
        raise InputError(f"depth of type {plane.dtype}", where=path, expected="16 bits a pixel")
    return plane.astype(np.float32) * np.float32(metres)


def same_size(plane: NDArray[np.generic], size: tuple[int, ...], path: Path) -> NDArray[np.generic]:
    """Check that a plane (H, W) is as large as its image, size (H, W, ...)."""
    if plane.shape != tuple(size[:2]):
        raise InputError(
            f"image of {plane.shape[1]} x {plane.shape[0]} pixels",
            where=path,
            expected=f"{size[1]} x {size[0]}",
        )
    return plane


def expect_root(root: Path, name: str | None) -> None:
    """Raise InputError unless root is a folder; of a data set that can be fetched it says how."""
    if root.is_dir():
        return
    from deeprob.data.fetch import (
        fetched_by,  # here, because it knows about the network, which no reader needs
    )

    fix = "set data.root, or paths.data_dir above it"
    command = fetched_by(name)
    raise InputError("no such folder", where=root, fix=f"{fix}, or {command}" if command else fix)
