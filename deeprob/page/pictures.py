"""Pictures inside the page that shows them."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.errors import InputError


def png(picture: NDArray[np.uint8]) -> bytes:
    """An RGB image uint8 (h, w, 3) as a PNG file."""
    return _encoded(picture, ".png")


def data_uri(picture: NDArray[np.uint8], suffix: str = ".png") -> str:
    """An RGB image uint8 (h, w, 3) inside its own address, as PNG or JPEG."""
    kind = {".png": "png", ".jpg": "jpeg"}[suffix]
    return f"data:image/{kind};base64," + base64.b64encode(_encoded(picture, suffix)).decode("ascii")


def _encoded(picture: NDArray[np.uint8], suffix: str) -> bytes:
    ok, written = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not ok:
        raise InputError(f"a picture of shape {picture.shape} cannot be encoded", where="report")
    return written.tobytes()
