"""Procedural pictures for tables and backgrounds: a fixed pool for a seed, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError
from deeprob.geometry.kernel import inlined
from deeprob.sim.settings import LookSettings

PICTURES = (".png", ".jpg", ".jpeg")
POOL = 24  # textures to draw from
TEXTURE_SIZE = 512  # texels a side, over one metre of table
SKIN_SIZE = 256  # texels a side of the textures that objects are wrapped in
LEVELS = 6  # sizes kept of each texture
Picture = NDArray[np.uint8]
Field = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> Field:
    """A field (size, size), mean 0, deviation 1, that repeats at its borders, about `cells` bumps a side."""
    import cv2

    grid = rng.normal(size=(cells, cells)).astype(np.float32)
    margin = 3
    grid = np.pad(grid, margin, mode="wrap")
    scale = size / cells
    zoomed = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    start = round(margin * scale)
    field = zoomed[start : start + size, start : start + size]
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), np.float32)


def _colors(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Colours (count, 3), 0..255: any hue, mostly muted, neither black nor white."""
    value = rng.uniform(60, 225, (count, 1))
    return np.asarray(np.clip(value + rng.normal(0, 28, (count, 3)), 15, 245))


def _mix(
    share: NDArray[np.float32], first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`first` where share is 0, `second` where it is 1."""
    return np.asarray(first + np.clip(share, 0, 1)[..., None] * (second - first))


def _plain(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    return np.tile(_colors(rng, 1), (size, size, 1))


def _clouds(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    a, b = _colors(rng, 2)
    field = smooth_noise(rng, size, int(rng.integers(3, 9))) + 0.5 * smooth_noise(
        rng, size, int(rng.integers(12, 40))
    )
    return _mix(np.asarray(0.5 + 0.35 * field, np.float32), a, b)


def _checks(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    a, b = _colors(rng, 2)
    row = (np.arange(size) * 2 * int(rng.integers(3, 14)) // size) % 2
    return _mix((row[:, None] ^ row[None, :]).astype(np.float32), a, b)


def _wood(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    a, b = _colors(rng, 2)
    across = np.linspace(0, 1, size, endpoint=False)[:, None]
    warp = 0.02 * smooth_noise(rng, size, 4) + 0.004 * smooth_noise(rng, size, 16)
    rings = np.sin(2 * np.pi * int(rng.integers(6, 30)) * (across + warp))
    return _mix((0.5 + 0.3 * rings + 0.1 * smooth_noise(rng, size, 64)).astype(np.float32), a, b)


def _speckle(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    a, b = _colors(rng, 2)
    field = smooth_noise(rng, size, int(rng.integers(40, 128)))
    return _mix((field > rng.uniform(0.3, 1.5)).astype(np.float32), a, b)


PATTERNS: tuple[Callable[[np.random.Generator, int], NDArray[np.float64]], ...] = (
    _plain,
    _clouds,
    _checks,
    _wood,
    _speckle,
)


def procedural(rng: np.random.Generator, size: int) -> Picture:
    """A repeating picture (size, size, 3) of a random kind, with fine grain."""
    pattern = PATTERNS[rng.integers(len(PATTERNS))](rng, size)
    grain = rng.uniform(0, 6) * smooth_noise(rng, size, size // 4)[..., None]
    return np.asarray(np.clip(pattern + grain, 0, 255), np.uint8)


class TexturePool:
    """POOL textures for tables, for backgrounds and for objects, each made when it is first asked for."""

    def __init__(self, seed: int, background_size: int, look: LookSettings) -> None:
        self._seed, self._size = seed, background_size
        self._kinds = look.table_textures, look.backgrounds, look.object_textures
        names = ("table_textures", "backgrounds", "object_textures")
        self._files = [_pictures(kind, name) for kind, name in zip(self._kinds, names, strict=True)]
        self._wraps = look.retexture > 0
        self._tables: dict[int, tuple[NDArray[np.uint32], NDArray[np.int64]]] = {}
        self._backgrounds: dict[int, NDArray[np.uint32]] = {}

    def table(self, number: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Texels (T,) and mips (LEVELS, 3) of a table's texture."""
        if number not in self._tables:
            picture = self._make(0, number, TEXTURE_SIZE)
            texels, mips = flatten([picture], LEVELS)
            self._tables[number] = texels, mips[0]
        return self._tables[number]

    def background(self, number: int) -> NDArray[np.uint32]:
        """A background (size, size), red in the lowest byte."""
        if number not in self._backgrounds:
            self._backgrounds[number] = pack(self._make(1, number, self._size))
        return self._backgrounds[number]

    @cached_property
    def skins(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Texels (T,) and mips (POOL, LEVELS, 3) of what objects are wrapped in; empty where none is."""
        pictures = [self._make(2, number, SKIN_SIZE) for number in range(POOL)] if self._wraps else []
        return flatten(pictures, LEVELS)

    def _make(self, kind: int, number: int, size: int) -> Picture:
        files = self._files[kind]
        if files:
            return _read_square(files[number % len(files)], size)
        if self._kinds[kind] == "plain":
            return np.full((size, size, 3), 160, np.uint8)
        return procedural(np.random.default_rng([self._seed, 1 + kind, number]), size)


def find_pictures(folder: str) -> list[Path]:
    """The pictures in a folder, in order of their names; none for `random` and `plain`."""
    if folder in ("random", "plain"):
        return []
    return sorted(path for path in Path(folder).expanduser().glob("*") if path.suffix.lower() in PICTURES)


def _pictures(folder: str, name: str) -> list[Path]:
    """The pictures in a folder. Raises InputError where there is none, naming the setting."""
    paths = find_pictures(folder)
    if not paths and folder not in ("random", "plain"):
        raise InputError(
            f"no pictures in {folder}",
            where=f"sim.look.{name}",
            expected="random, plain, or a folder of PNG or JPEG",
        )
    return paths


def _read_square(path: Path, size: int) -> Picture:
    """A picture, cut to its middle square, at this size."""
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError("the picture cannot be read", where=path, expected="PNG or JPEG")
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = cv2.resize(
        picture[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA
    )
    return np.ascontiguousarray(square[..., ::-1])


@inlined
def halving(texels_per_pixel: float) -> int:
    """The halving of a texture whose texels are about as large as a pixel."""
    level = 0
    while texels_per_pixel > 1.5 and level < LEVELS - 1:
        texels_per_pixel *= 0.5
        level += 1
    return level


def halvings(picture: Picture, levels: int) -> list[Picture]:
    """The picture and its `levels` - 1 successive halvings (area means), never below one texel."""
    import cv2

    pictures = [np.ascontiguousarray(picture)]
    for _ in range(levels - 1):
        height, width = pictures[-1].shape[:2]
        pictures.append(
            np.asarray(
                cv2.resize(
                    pictures[-1], (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA
                )
            )
        )
    return pictures


def flatten(pictures: list[Picture], levels: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """All halvings of all pictures, whose sides are powers of two.

    Returns texels uint32 (T,), red in the lowest byte, and mips int64 (pictures, levels, 3): first texel,
    height, width.
    """
    texels, mips, start = (
        [np.zeros(1, np.uint32)],
        np.zeros((max(1, len(pictures)), levels, 3), np.int64),
        1,
    )
    for number, picture in enumerate(pictures):
        for level, smaller in enumerate(halvings(picture, levels)):
            mips[number, level] = start, *smaller.shape[:2]
            texels.append(pack(smaller).reshape(-1))
            start += smaller.shape[0] * smaller.shape[1]
    return np.concatenate(texels), mips


def pack(picture: Picture) -> NDArray[np.uint32]:
    """A picture (H, W, 3) as one number a pixel (H, W): red in the lowest byte."""
    red, green, blue = np.moveaxis(picture.astype(np.uint32), -1, 0)
    return np.asarray(red | green << 8 | blue << 16, np.uint32)
