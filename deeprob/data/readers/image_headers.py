"""What an image file says of itself before its pixels: orientation, palette, size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError

PNG_START = b"\x89PNG\r\n\x1a\n"


def orientation(path: Path) -> int:
    """How EXIF says that an image is to be turned or mirrored: 2 to 8, or 1, not at all."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            number = image.getexif().get(0x0112)
    except Exception:  # a decoder raises whatever it stumbles over; what is broken is told elsewhere
        return 1
    return number if number in range(2, 9) else 1


def exif_turns(path: Path) -> bool:
    """Whether EXIF says that an image is to be turned by 90 degrees: its file's width is its height."""
    return orientation(path) >= 5


def wrong_size(found: tuple[int, ...], size: tuple[int, int], path: Path, labels: str) -> InputError:
    """The line of an image that is not as large as its labels say; found, size: (H, W, ...)."""
    turned = found[:2] == size[::-1] and exif_turns(path)
    return InputError(
        f"image of {found[1]} x {found[0]} pixels",
        where=path,
        expected=f"{size[1]} x {size[0]}, as {labels} says",
        fix="its EXIF orientation turns it, and the labels are of the image before: remove that tag"
        if turned
        else None,
    )


def has_palette(path: Path) -> bool:
    """Whether a PNG stores indices into a palette."""
    return _png_kind(path)[1] == 3


def stretched(path: Path) -> int:
    """What decoders multiply a file's values by: 255, 85 or 17 of a grey PNG of 1, 2 or 4 bits; else 1."""
    bits, colours = _png_kind(path)
    return 255 // (2**bits - 1) if colours == 0 and bits < 8 else 1


def _png_kind(path: Path) -> tuple[int, int]:
    """Bits of a channel, and the kind of colours, of a PNG's header; 8 and -1 of another file."""
    with path.open("rb") as file:
        head = file.read(26)
    return (head[24], head[25]) if head.startswith(PNG_START) and len(head) == 26 else (8, -1)


def palette_indices(path: Path) -> NDArray[np.uint8]:
    """Read the indices that a PNG stores, uint8 (H, W). Raises InputError for a broken file."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image, np.uint8)
    except Exception as error:  # a decoder raises whatever it stumbles over
        raise InputError(f"cannot be decoded ({error})", where=path) from None
