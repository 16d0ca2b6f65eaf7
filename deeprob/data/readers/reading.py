"""What readers share: images checked to be whole, and frames read one by one, bad ones refused or counted."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame
from deeprob.data.readers.image_headers import PNG_START, has_palette, palette_indices
from deeprob.errors import InputError

OnBadSample = Literal["error", "skip"]
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
UNREAD_SUFFIXES = (".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".svg", ".psd", ".dng", ".cr2", ".nef")
MAX_PIXELS = 2**27  # a larger header is a mistake or an attack: decoding it would take gigabytes

_JPEG_MARKER = re.compile(
    rb"\xff[^\x00\xd0-\xd7\xff]"
)  # inside a scan: not a stuffed zero, restart or fill byte
_JPEG_SIZE = frozenset(range(0xC0, 0xD0)) - {
    0xC4,
    0xC8,
    0xCC,
}  # start-of-frame segments hold the image's size

_COUNTING = threading.Lock()  # frames are read in several threads

Pixels: TypeAlias = NDArray[np.integer[Any] | np.floating[Any]]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Frames(Sequence[Frame], Generic[Item]):
    """The frames of one split, each read when it is asked for.

    `frames[i]` raises InputError for a bad sample. Iterating, and `read(i)`, follow `on_bad_sample`:
    "error" raises, "skip" leaves the frame out and adds the error's line to `skipped`, once.
    """

    def __init__(
        self,
        items: Sequence[Item],
        read_item: Callable[[Item], Frame],
        on_bad_sample: OnBadSample = "error",
        skipped: list[str] | None = None,
    ) -> None:
        self.items = items
        self.skipped = [] if skipped is None else skipped
        self._read_item = read_item
        self._on_bad_sample = on_bad_sample

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Frames[Item]: ...
    def __getitem__(self, index: int | slice) -> Frame | Frames[Item]:
        if isinstance(index, slice):
            return Frames(self.items[index], self._read_item, self._on_bad_sample, self.skipped)
        return self._read_item(self.items[index])

    def map(self, change: Callable[[Frame], Frame]) -> Frames[Item]:
        """Make the same frames with a change to each."""
        return Frames(
            self.items, lambda item: change(self._read_item(item)), self._on_bad_sample, self.skipped
        )

    def skipping(self) -> Frames[Item]:
        """Make the same frames that skip bad samples, and count them by themselves."""
        return Frames(self.items, self._read_item, "skip")

    def read(self, index: int) -> Frame | None:
        """Frame `index`, or None where it is bad and bad samples are skipped."""
        try:
            return self._read_item(self.items[index])
        except InputError as error:
            if self._on_bad_sample == "error":
                raise
            with _COUNTING:
                if str(error) not in self.skipped:
                    self.skipped.append(str(error))
            return None

    def __iter__(self) -> Iterator[Frame]:
        for index in range(len(self)):
            frame = self.read(index)
            if frame is not None:
                yield frame


def read_ahead(frames: Sequence[Frame], num_threads: int | None = None) -> Iterator[Frame | None]:
    """Every frame in order, decoded in parallel threads; None in the place of a skipped one."""
    read = frames.read if isinstance(frames, Frames) else frames.__getitem__
    return work_ahead(read, len(frames), num_threads)


def work_ahead(work: Callable[[int], Result], count: int, num_threads: int | None = None) -> Iterator[Result]:
    """work(0), work(1), ... work(count - 1) in order, computed in parallel threads."""
    num_threads = num_threads or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            # Blocks keep the number of frames in flight, and so the memory, small.
            for start in range(0, count, 16 * num_threads):
                yield from pool.map(work, range(start, min(start + 16 * num_threads, count)))
        finally:
            pool.shutdown(cancel_futures=True)


def read_bytes(path: Path, limit: int = 2**30) -> bytes:
    """Read a regular file. Raises InputError where it is missing, unreadable, empty or over `limit` bytes."""
    try:
        if not path.is_file():
            raise InputError("no such file", where=path)
        if path.stat().st_size > limit:
            raise InputError(f"file of {path.stat().st_size} bytes", where=path, expected=f"at most {limit}")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot be read ({error})", where=path) from None
    if not content:
        raise InputError("empty file (0 bytes)", where=path)
    return content


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, which may be empty. Raises InputError where it is missing or not text."""
    if path.is_file() and path.stat().st_size == 0:
        return ""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text ({error.reason} at byte {error.start})", where=path) from None


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode an 8-bit image file as uint8 (H, W, 3) RGB; grey becomes RGB, EXIF orientation is applied.

    Raises InputError for a missing, truncated, corrupt, 16-bit or oversized file: a decoder alone would
    silently pad what is missing with grey.
    """
    image = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image.dtype != np.uint8:
        raise InputError(f"{8 * image.dtype.itemsize}-bit image", where=path, expected="8 bits a channel")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_plane(path: Path) -> Pixels:
    """Decode a one-channel image (depth, mask, labels) as it is stored: uint8 or uint16 (H, W).

    Of a PNG with a palette these are the indices, as labelme and VOC write label maps; of colours that are
    all grey, the grey. Raises InputError.
    """
    image = _decode(path, cv2.IMREAD_UNCHANGED)
    if image.ndim == 3 and has_palette(path):
        return palette_indices(path)
    if image.ndim == 3 and (image[..., :1] == image[..., :3]).all():
        return np.ascontiguousarray(image[..., 0])
    if image.ndim != 2:
        raise InputError(f"image of {image.shape[2]} channels", where=path, expected="one channel")
    return image


def find_images(root: Path, unread: list[Path] | None = None) -> Iterator[Path]:
    """Find every image under `root`, as `find_files`; pictures of kinds that are not read go to `unread`."""
    return find_files(root, IMAGE_SUFFIXES, unread)


def find_files(root: Path, suffixes: tuple[str, ...], unread: list[Path] | None = None) -> Iterator[Path]:
    """Find every file of some kinds under `root` in sorted order; links to folders are followed, once.

    What is no part of a data set is passed over: `is_litter`.
    """
    visited: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if not is_litter(name))
        for file in sorted(files):
            if is_litter(file):
                continue
            if file.lower().endswith(suffixes):
                yield Path(folder, file)
            elif unread is not None and file.lower().endswith(UNREAD_SUFFIXES):
                unread.append(Path(folder, file))


def is_litter(name: str) -> bool:
    """Whether tools left this file or folder behind: hidden (`._1.jpg`, a notebook's copies), or a Mac's."""
    return name.startswith(".") or name == "__MACOSX"


def list_folder(path: Path) -> list[Path]:
    """List a folder in sorted order, without litter. Raises InputError where it is missing or unreadable."""
    try:
        return sorted(entry for entry in path.iterdir() if not is_litter(entry.name))
    except OSError as error:
        raise InputError(f"cannot be listed ({error.strerror or error})", where=path) from None


def _refuse(error: OSError) -> None:
    raise InputError(f"cannot be listed ({error.strerror or error})", where=error.filename) from None


def fingerprint(*parts: object) -> str:
    """Name the content that `parts` stand for; of a path it is the name, size and time of the file.

    Of a folder it is that of each file in it: one that is written anew in its place leaves no trace in the
    folder itself.
    """
    digest = hashlib.sha256()
    for part in parts:
        lines = [repr(part)]
        if isinstance(part, Path):
            lines = [str(part), *_states(part)]
        for line in lines:
            digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()[:16]


def _states(path: Path) -> list[str]:
    """Name, size and time of a file, or of each file of a folder; nothing where neither is there."""
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                kept = sorted((e for e in entries if not is_litter(e.name)), key=lambda e: e.name)
                return [_state(entry.name, entry.stat()) for entry in kept]
        return [_state(path.name, path.stat())]
    except OSError:
        return []


def _state(name: str, stat: os.stat_result) -> str:
    return f"{name} {stat.st_size} {stat.st_mtime_ns}"


def _decode(path: Path, flags: int) -> Pixels:
    content = read_bytes(path)
    if content.startswith(b"\xff\xd8"):
        _check_jpeg(content, path)
    elif content.startswith(PNG_START):
        _check_png(content, path)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise InputError(f"cannot be decoded ({error.err})", where=path) from None
    if image is None:
        raise InputError("cannot be decoded", where=path, expected="a whole image file")
    return image


def _check_size(width: int, height: int, path: Path) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise InputError(
            f"image of {width} x {height} pixels", where=path, expected=f"1 to {MAX_PIXELS} pixels"
        )


def _check_jpeg(content: bytes, path: Path) -> None:
    """Walk the segments to the end-of-image marker: the decoder would fill a missing end with grey."""
    truncated = InputError(f"truncated JPEG ({len(content)} bytes, no end-of-image marker)", where=path)
    position = 2
    while True:
        found = _JPEG_MARKER.search(content, position)
        if found is None:
            raise truncated
        marker, position = content[found.start() + 1], found.end()
        if marker == 0xD9:
            return
        if position + 2 > len(content):
            raise truncated
        if marker in _JPEG_SIZE and position + 7 <= len(content):
            _check_size(
                int.from_bytes(content[position + 5 : position + 7], "big"),
                int.from_bytes(content[position + 3 : position + 5], "big"),
                path,
            )
        position += int.from_bytes(content[position : position + 2], "big")


def _check_png(content: bytes, path: Path) -> None:
    """Walk the chunks to IEND and check each checksum: the decoder would return what precedes the damage."""
    position = len(PNG_START)
    while True:
        size = int.from_bytes(content[position : position + 4], "big")
        body, end = content[position + 4 : position + 8 + size], position + 12 + size
        if end > len(content):
            raise InputError(f"truncated PNG ({len(content)} bytes, no end chunk)", where=path)
        if zlib.crc32(body) != int.from_bytes(content[end - 4 : end], "big"):
            raise InputError(f"corrupt PNG, wrong checksum at byte {position}", where=path)
        if body[:4] == b"IHDR":
            _check_size(int.from_bytes(body[4:8], "big"), int.from_bytes(body[8:12], "big"), path)
        if body[:4] == b"IEND":
            return
        position = end
