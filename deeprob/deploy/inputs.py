"""What a trained run looks at: pictures, a video, a camera, a bag, clouds of points, a split of a data set.

Each input gives one `Given` after the other, from any start, so that an interrupted prediction goes on
where it was; a picture that cannot be read is given too, with the reason, and is the caller's to refuse or to
count.
"""

from __future__ import annotations

import glob
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame
from deeprob.data.readers.points import SUFFIXES as CLOUD_SUFFIXES
from deeprob.data.readers.points import Cloud, read_points
from deeprob.data.readers.reading import IMAGE_SUFFIXES, find_files, read_image
from deeprob.deploy.bags import Bag
from deeprob.deploy.given import Given, frame_of
from deeprob.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".mjpg", ".mjpeg")
BAG_SUFFIXES = (".bag", ".mcap", ".db3")


class Input(Protocol):
    """Frames in their order. name: for people and folders; count: None where it is not known before."""

    @property
    def name(self) -> str: ...

    @property
    def count(self) -> int | None: ...

    def given(self, start: int) -> Iterator[Given]:
        """Give every one from number `start` on."""
        ...

    @property
    def rate(self) -> float | None:
        """Frames a second of a film; None of pictures that are none."""
        ...

    @property
    def keys(self) -> Sequence[str] | None:
        """Of all frames, where they are known before these are read."""
        ...


@dataclass(frozen=True)
class Files(ABC):
    """Files that are an item each. base: the folder that keys are relative to."""

    name: str
    base: Path
    paths: Sequence[Path]

    @property
    def count(self) -> int:
        return len(self.paths)

    @property
    def keys(self) -> Sequence[str]:
        return [path.relative_to(self.base).as_posix() for path in self.paths]

    def given(self, start: int) -> Iterator[Given]:
        for path, key in zip(self.paths[start:], self.keys[start:], strict=True):
            try:
                item = self.read(path, key)
            except InputError as error:
                yield Given(key, None, why=str(error))
            else:
                yield Given(key, item)

    @abstractmethod
    def read(self, path: Path, key: str) -> Frame | Cloud:
        """Read one file. Raises InputError for a bad one."""


@dataclass(frozen=True)
class Pictures(Files):
    """Image files. K: of all of them, None where not known."""

    K: NDArray[np.float64] | None = None
    rate: float | None = None

    def read(self, path: Path, key: str) -> Frame:
        return frame_of(read_image(path), self.name, key, self.K)


@dataclass(frozen=True)
class Clouds(Files):
    """Files of points, one cloud each."""

    rate: float | None = None

    def read(self, path: Path, key: str) -> Cloud:
        points, normals = read_points(path)
        parts = np.zeros(len(points), np.int64)  # what is not known yet
        return Cloud(points, 0, self.name, key, key, normals, parts)


@dataclass(frozen=True)
class Video:
    """A film, of which every `every`-th frame is taken."""

    name: str
    path: Path
    every: int
    K: NDArray[np.float64] | None
    fps: float
    frames: int
    keys: Sequence[str] | None = None

    @classmethod
    def open(cls, path: Path, every: int, K: NDArray[np.float64] | None) -> Video:
        """Open a film. Raises InputError where it cannot be, or has no frames."""
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # our line says what is wrong
        film = cv2.VideoCapture(str(path))
        try:
            if not film.isOpened():
                raise InputError("not a video that OpenCV reads", where=path)
            fps, frames = film.get(cv2.CAP_PROP_FPS), int(film.get(cv2.CAP_PROP_FRAME_COUNT))
            if not film.grab():
                raise InputError("a video without frames", where=path)
        finally:
            film.release()
        known = 0 < fps < 1000
        return cls(path.stem, path, every, K, fps if known else 0.0, max(frames, 0))

    @property
    def count(self) -> int | None:
        return -(-self.frames // self.every) if self.frames else None

    @property
    def rate(self) -> float:
        return (self.fps or 25.0) / self.every

    def given(self, start: int) -> Iterator[Given]:
        film = cv2.VideoCapture(str(self.path))
        try:
            number = 0
            while film.grab():
                if number % self.every == 0 and number // self.every >= start:
                    yield self._read(film, number)
                number += 1
        finally:
            film.release()

    def _read(self, film: cv2.VideoCapture, number: int) -> Given:
        key = f"{number:08d}"
        stamp = round(1e9 * number / self.fps) if self.fps else None
        decoded, image = film.retrieve()
        if not decoded:
            return Given(key, None, stamp, f"{self.path} frame {number}: cannot be decoded")
        return Given(key, frame_of(np.asarray(image[..., ::-1], np.uint8), self.name, key, self.K), stamp)


@dataclass(frozen=True)
class Camera:
    """A camera by its number, until it ends or Ctrl-C."""

    name: str
    number: int
    every: int
    K: NDArray[np.float64] | None
    count: int | None = None
    rate: float | None = None
    keys: Sequence[str] | None = None

    @classmethod
    def open(cls, number: int, every: int, K: NDArray[np.float64] | None) -> Camera:
        """The camera of a number. Raises InputError where there is none."""
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(
            cv2.utils.logging.LOG_LEVEL_SILENT
        )  # each backend tells why it has none
        try:
            camera = cv2.VideoCapture(number)
            there = camera.isOpened()
            camera.release()
        finally:
            cv2.utils.logging.setLogLevel(level)
        if not there:
            raise InputError(f"no camera {number} that can be opened", where="input")
        return cls(f"camera-{number}", number, every, K)

    def given(self, start: int) -> Iterator[Given]:
        camera = cv2.VideoCapture(self.number)
        try:
            number = 0
            while camera.grab():
                if number % self.every == 0:
                    decoded, image = camera.retrieve()
                    key = f"{start:08d}"
                    start += 1
                    if decoded:
                        frame = frame_of(np.asarray(image[..., ::-1], np.uint8), self.name, key, self.K)
                        yield Given(key, frame, time.time_ns())
                number += 1
        finally:
            camera.release()


@dataclass(frozen=True)
class Split:
    """The frames or clouds of a data set's split, as its labels name them."""

    name: str
    items: Sequence[Any]
    rate: float | None = None
    keys: Sequence[str] | None = None

    @property
    def count(self) -> int:
        return len(self.items)

    def given(self, start: int) -> Iterator[Given]:
        for number in range(start, len(self.items)):
            try:
                item = self.items[number]
                yield Given(item.key, item)
            except InputError as error:
                yield Given(f"number {number}", None, why=str(error))


def open_input(
    text: str,
    *,
    clouds: bool = False,
    every: int = 1,
    topic: str | None = None,
    K: NDArray[np.float64] | None = None,
) -> Input:
    """The input that `text` names: a file, a folder, a pattern with *, or the number of a camera.

    clouds: files of points are looked for, not pictures. every: take each so many-th frame. topic: of a bag.
    K: (3, 3), the camera's matrix where the input does not say. Raises InputError where there is none such.
    """
    if every < 1:
        raise InputError(f"every={every}", expected="1 or more")
    if text.isdecimal() and not Path(text).exists():
        return Camera.open(int(text), every, K)
    path = Path(text).expanduser()
    suffix = path.suffix.lower()
    if path.is_dir() and (path / "metadata.yaml").is_file():
        suffix = ".bag"
    if suffix in BAG_SUFFIXES and path.exists():
        return Bag.open(path, topic, every, K)
    if topic is not None:
        raise InputError(f"topic={topic}, but {text} is no bag", expected="a .bag, .mcap or .db3 file")
    if suffix in VIDEO_SUFFIXES and path.is_file():
        return Video.open(path, every, K)
    base, paths = _files(path, CLOUD_SUFFIXES if clouds else IMAGE_SUFFIXES)
    name = path.stem if path.exists() else base.name
    kept = paths[::every]
    return Clouds(name, base, kept) if clouds else Pictures(name, base, kept, K)


def _files(path: Path, suffixes: tuple[str, ...]) -> tuple[Path, list[Path]]:
    """The files of some kinds that a path or pattern names, sorted; and what their keys are relative to."""
    expected = f"a file or folder of {', '.join(suffixes)}, a video, a bag, or the number of a camera"
    if path.is_file():
        if path.suffix.lower() not in suffixes:
            raise InputError("not an input that is known", where=path, expected=expected)
        return path.parent, [path]
    if path.is_dir():
        found = list(find_files(path, suffixes))
        base = path
    elif glob.has_magic(str(path)):
        first = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
        base = Path(*path.parts[:first])
        met: dict[str, Path] = {}  # a link back to a folder above would give its files again and again
        for name in sorted(glob.glob(str(path), recursive=True), key=lambda name: (name.count("/"), name)):
            met.setdefault(str(Path(os.path.realpath(Path(name).parent), Path(name).name)), Path(name))
        found = sorted(met.values())
    else:
        raise InputError("no such input", where=path, expected=expected)
    kept = [p for p in found if p.suffix.lower() in suffixes and p.is_file()]
    if not kept:
        raise InputError("nothing to look at there", where=path, expected=f"files of {', '.join(suffixes)}")
    return base, kept
