"""What an image file says of itself before its pixels: orientation, palette, size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError

PNG_START = b"\x89PNG\r\n\x1a\n"


def exif_turns(path: Path) -> bool:
    """Whether EXIF says that an image is to be turned by 90 degrees: its file's width is its height."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.getexif().get(0x0112) in (5, 6, 7, 8)
    except Exception:  # a decoder raises whatever it stumbles over; what is broken is told elsewhere
        return False


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
    """Whether a PNG stores indices into a palette: colour type 3 in its header."""
    with path.open("rb") as file:
        head = file.read(26)
    return head.startswith(PNG_START) and head[25:26] == b"\x03"


def palette_indices(path: Path) -> NDArray[np.uint8]:
    """Read the indices that a PNG stores, uint8 (H, W). Raises InputError for a broken file."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image, np.uint8)
    except Exception as error:  # a decoder raises whatever it stumbles over
        raise InputError(f"cannot be decoded ({error})", where=path) from None
