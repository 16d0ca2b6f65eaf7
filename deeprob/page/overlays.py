"""Pictures of what predictions got wrong: outlines, boxes, pixels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.page.pictures import data_uri

NUM_WORST = 18
SIDE = 240  # pixels of a picture's longer side
TRUE, ESTIMATED = (60, 220, 90), (255, 70, 50)  # green what is there, red what was said
CONTEXT = 0.35  # around what is shown, as a part of its longer side

Image = NDArray[np.uint8]


def outlines(image: Image, silhouettes: Sequence[NDArray[np.bool_]]) -> Image:
    """Draw the true silhouette's outline, and the estimated one's where there is a second."""
    drawn = np.ascontiguousarray(image).copy()
    for silhouette, colour in zip(silhouettes, (TRUE, ESTIMATED), strict=False):
        found, _ = cv2.findContours(silhouette.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, found, -1, colour, 1, cv2.LINE_AA)
    return drawn


def boxes(image: Image, true: NDArray[np.float64], found: NDArray[np.float64]) -> Image:
    """Draw boxes (N, 4): left, top, right, bottom in pixels."""
    drawn = np.ascontiguousarray(image).copy()
    thick = max(1, round(max(image.shape[:2]) / SIDE))
    for of, colour in ((found, ESTIMATED), (true, TRUE)):
        for left, top, right, bottom in np.clip(np.round(of), -(2**15), 2**15).astype(int).tolist():
            cv2.rectangle(drawn, (left, top), (right, bottom), colour, thick)
    return drawn


def mistakes(image: Image, wrong: NDArray[np.bool_]) -> Image:
    """Tint the pixels that are wrong."""
    drawn = image.astype(np.float32)
    drawn[wrong] = 0.35 * drawn[wrong] + 0.65 * np.array(ESTIMATED, np.float32)
    return np.round(drawn).astype(np.uint8)


def picture(image: Image, around: Sequence[NDArray[np.bool_]] = ()) -> str:
    """An image inside its own address, cut to what the silhouettes (H, W) cover, with some context."""
    seen = np.logical_or.reduce(list(around)) if around else np.ones(image.shape[:2], bool)
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if around and len(rows):
        middle = np.array([rows[0] + rows[-1], columns[0] + columns[-1]]) / 2
        side = max(int(np.ptp(rows)), int(np.ptp(columns)), 24) * (1 + 2 * CONTEXT)
        top, left = np.maximum(np.floor(middle - side / 2), 0).astype(int)
        image = image[top : top + int(side) + 1, left : left + int(side) + 1]
    scale = SIDE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    fitted = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return data_uri(np.asarray(fitted, np.uint8), ".jpg")
