"""What the readers of data sets in files share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame
from deeprob.data.readers.reading import Frames, OnBadSample, fingerprint, read_plane
from deeprob.errors import InputError

Item = TypeVar("Item")
RENDERED = "render.json"  # what `deeprob render` leaves in a folder: its pictures are simulated


class FileSource(ABC, Generic[Item]):
    """A Source over files below `root`: lists the items of a split, and reads each when it is asked for.

    A subclass sets `classes` and `splits`. on_bad_sample: "error" raises at a bad sample, "skip" leaves it
    out and adds its line to `skipped`. Raises InputError where root is no folder.
    """

    real: bool
    unit = "frame"  # what is independent for statistics: each "frame", or only each "group" of them
    classes: tuple[str, ...]
    splits: tuple[str, ...]

    def __init__(self, root: Path, name: str | None, on_bad_sample: OnBadSample) -> None:
        self.root = Path(root).expanduser()
        self.name = name or self.root.name
        if on_bad_sample not in ("error", "skip"):
            raise InputError(f"data.source.on_bad_sample is {on_bad_sample!r}", expected="error or skip")
        self.on_bad_sample = on_bad_sample
        self.skipped: list[str] = []
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
        """Name the files that a frame is read from."""

    def frames(self, split: str) -> Frames[Item]:
        self.check_split(split)
        return Frames(self.items(split), self.read, self.on_bad_sample, self.skipped)

    def fingerprint(self, split: str) -> str:
        """Name the split's content: another name when any of its files changes."""
        self.check_split(split)
        paths = dict.fromkeys(path for item in self.items(split) for path in self.files(item))
        return fingerprint(type(self).__name__, self.classes, *paths)

    def check_split(self, split: str) -> None:
        """Raise InputError for an unknown split."""
        if split not in self.splits:
            raise InputError(f"no split {split!r}", where=self.root, expected=" or ".join(self.splits))


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


def mask_box(mask: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Find the box around a mask's pixels, in pixels: float64 (4,); None where it has none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return np.array([columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5])


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
