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
RIGHT = (80, 170, 255)  # blue what was said and is right
LABELLED_SIDE = 480  # pixels of the longer side of a picture with text in it
TEXT = 13  # pixels high
CONTEXT = 0.35  # around what is shown, as a part of its longer side

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom


def outlines(
    image: Image, silhouettes: Sequence[NDArray[np.bool_]], colours: Sequence[Colour] = (TRUE, ESTIMATED)
) -> Image:
    """Draw the outlines of silhouettes, at most one a colour: the true one, then the estimated one."""
    drawn = np.ascontiguousarray(image).copy()
    for silhouette, colour in zip(silhouettes, colours, strict=False):
        found, _ = cv2.findContours(silhouette.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, found, -1, colour, 1, cv2.LINE_AA)
    return drawn


def labelled_boxes(
    image: Image,
    drawn: Sequence[tuple[NDArray[np.float64], Colour, str]],
    side: int = LABELLED_SIDE,
    high: int = TEXT,
) -> Image:
    """Draw boxes (4,), each with its colour and what is written on it, on the image made `side` large.

    high: pixels of the text.

    Boxes are scaled with the image and text is not, so that it can be read whatever the image's size. What is
    written stands above or below its box, as near as other text leaves room; the last box lies on top.
    """
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    shrunk = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = np.ascontiguousarray(cv2.resize(image, size, interpolation=shrunk), np.uint8)
    for box, colour, _ in drawn:
        left, top, right, bottom = _on_canvas(box, scale)
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, 2)
    texts = [(_on_canvas(box, scale), colour, text) for box, colour, text in drawn]
    write_beside(canvas, texts, high)
    return canvas


def write_beside(canvas: Image, texts: Sequence[tuple[Sequence[int], Colour, str]], high: int) -> None:
    """Write each text, `high` pixels, on its colour beside its rectangle; the last one nearest to its own.

    Rectangles are left, top, right, bottom. A line leads to a text that found no room at its rectangle.
    """
    written: list[tuple[Rectangle, Colour, str]] = []
    for corners, colour, text in reversed(texts):
        if text:
            text = "".join(c if c.isprintable() else "?" for c in text)
            place = _place(canvas.shape, text, corners, [of for of, _, _ in written], high)
            written.append((place, colour, text))
            if place[3] < corners[1] or place[1] > corners[3]:  # away from its rectangle
                ends = (place[3], corners[1]) if place[3] < corners[1] else (corners[3], place[1])
                cv2.line(canvas, (place[0] + 1, ends[0]), (place[0] + 1, ends[1]), colour, 1)
    for (left, top, right, bottom), colour, text in written:
        ink = (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, -1)
        cv2.putText(canvas, text, (left + 2, bottom - 4), ink, cv2.FontFace("sans"), high)


def _on_canvas(box: NDArray[np.float64], scale: float) -> list[int]:
    """Corners in whole pixels of an image that was made `scale` times as large; pixel i is centred on i."""
    scaled: list[int] = np.clip(np.round((box + 0.5) * scale - 0.5), -(2**15), 2**15).astype(int).tolist()
    return scaled


def _place(
    shape: tuple[int, ...], text: str, box: Sequence[int], taken: Sequence[Rectangle], letters: int
) -> Rectangle:
    """Where a text goes: above or below its box, in the nearest row of the image that is not `taken`."""
    _, _, width, _ = cv2.getTextSize((1, 1), text, (0, 0), cv2.FontFace("sans"), letters)
    wide, high = width + 4, letters + 4
    left = max(0, min(box[0], shape[1] - wide))
    rows = range(shape[0] // high)
    tops = [top for row in rows for top in (box[1] - high * (row + 1), box[3] + high * row)]
    inside = [(left, top, left + wide, top + high) for top in tops if 0 <= top <= shape[0] - high]
    free = [place for place in inside if not any(_overlap(place, other) for other in taken)]
    top = max(0, min(box[1], shape[0] - high))
    return (free or inside or [(left, top, left + wide, top + high)])[0]


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


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
