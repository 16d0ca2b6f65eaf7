"""Pictures of what is predicted: boxes with their class, label maps, masks, poses; a colour a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deeprob.page.overlays import TEXT, Colour, Image, labelled_boxes, write_beside

BASE = np.array(  # distinguishable by the colour-blind too (Okabe and Ito, 2008)
    [
        [0, 114, 178],
        [230, 159, 0],
        [0, 158, 115],
        [213, 94, 0],
        [204, 121, 167],
        [86, 180, 233],
        [240, 228, 66],
        [150, 80, 220],  # black in theirs: not seen on dark ground
    ],
    np.uint8,
)
COLOURS = np.concatenate([BASE, 255 - (255 - BASE) // 2, BASE // 2])  # of classes: then paler, then darker
SMALLEST = 640  # pixels of the longer side of a picture, so that text can be read
STRENGTH = 0.55  # of a label map's colours over the image
HALO = (0, 0, 0)  # around lines, which are then seen on any ground
AXES = ((230, 60, 60), (60, 200, 60), (70, 110, 255))  # x red, y green, z blue


def colour_of(class_id: int) -> Colour:
    """The colour of a class, the same in every picture."""
    red, green, blue = COLOURS[class_id % len(COLOURS)].tolist()
    return red, green, blue


def boxes(image: Image, found: Sequence[tuple[NDArray[np.float64], int, str]]) -> Image:
    """Draw boxes (4,) with their class and text, the first on top."""
    side = max(*image.shape[:2], SMALLEST)
    coloured = [(box, colour_of(class_id), text) for box, class_id, text in reversed(found)]
    return labelled_boxes(image, coloured, side, max(TEXT, round(TEXT * side / 900)))


def label_map(image: Image, labels: NDArray[np.integer], classes: Sequence[str]) -> Image:
    """Tint an image (H, W, 3) by its labels (H, W), 0 is background, outline them, and name their classes."""
    there = [int(value) for value in np.unique(labels) if value]
    mixed = image.astype(np.float32)
    for value in there:
        mixed[labels == value] *= 1 - STRENGTH
        mixed[labels == value] += STRENGTH * np.array(colour_of(value - 1), np.float32)
    canvas = np.round(mixed).astype(np.uint8)
    scale = max(1.0, SMALLEST / max(image.shape[:2]))
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    canvas = np.ascontiguousarray(cv2.resize(canvas, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    grown = cv2.resize(labels.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    high = max(TEXT, round(TEXT * max(size) / 900))
    for row, value in enumerate(there):
        colour = colour_of(value - 1)
        outline, _ = cv2.findContours(
            (grown == value).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(canvas, outline, -1, colour, max(1, high // TEXT), cv2.LINE_AA)
        _caption(canvas, classes[value], (0, (high + 4) * row), colour, high)
    return canvas


def masks(image: Image, found: Sequence[tuple[NDArray[np.bool_], int]]) -> Image:
    """Tint an image (H, W, 3) by masks bool (H, W) with their class, the first on top, and outline them."""
    canvas = np.array(image)
    for mask, class_id in reversed(found):
        colour = colour_of(class_id)
        mixed = (1 - STRENGTH) * canvas[mask] + STRENGTH * np.array(colour, np.float32)
        canvas[mask] = np.round(mixed).astype(np.uint8)
        outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outline, -1, colour, 1)
    return canvas


@dataclass(frozen=True)
class DrawnPose:
    """A pose T (4, 4) to draw. axis: length of its axes, metres. silhouette: bool (H, W); None: not known."""

    T: NDArray[np.float64]
    class_id: int
    text: str
    axis: float
    silhouette: NDArray[np.bool_] | None = None


def poses(image: Image, K: NDArray[np.float64], found: Sequence[DrawnPose]) -> Image:
    """Draw poses: outline and text in the class's colour, axes x red, y green, z blue; the first on top."""
    scale = max(1.0, SMALLEST / max(image.shape[:2]))
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    canvas = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    high = max(TEXT, round(TEXT * max(size) / 900))
    thick, texts = max(2, high // 6), []
    for one in reversed(found):
        points = np.concatenate([np.zeros((1, 3)), one.axis * np.eye(3)]) @ one.T[:3, :3].T + one.T[:3, 3]
        if (points[:, 2] <= 1e-6).any():  # behind the camera
            continue
        colour = colour_of(one.class_id)
        pixels = (points / points[:, 2:]) @ K.T
        places = np.round((pixels[:, :2] + 0.5) * scale - 0.5).clip(-(2**15), 2**15).astype(int)
        around = places
        if one.silhouette is not None and one.silhouette.any():
            grown = cv2.resize(one.silhouette.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            outline, _ = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            for ink, wide in ((HALO, thick + 2), (colour, thick)):
                cv2.drawContours(canvas, outline, -1, ink, wide, cv2.LINE_AA)
            around = np.concatenate([line[:, 0] for line in outline])
        for tip, of_axis in zip(places[1:].tolist(), AXES, strict=True):
            for ink, wide in ((HALO, thick + 2), (of_axis, thick)):
                cv2.line(canvas, places[0].tolist(), tip, ink, wide, cv2.LINE_AA)
        texts.append(([*around.min(0).tolist(), *around.max(0).tolist()], colour, one.text))
    write_beside(canvas, texts, high)
    return canvas


def _caption(canvas: Image, text: str, corner: tuple[int, int], colour: Colour, high: int) -> None:
    """Write a text on a ground of its own; corner: left, top."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    _, _, wide, _ = cv2.getTextSize((1, 1), text, (0, 0), cv2.FontFace("sans"), high)
    left, top = corner
    ink = (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)
    cv2.rectangle(canvas, (left, top), (left + wide + 4, top + high + 4), colour, -1)
    cv2.putText(canvas, text, (left + 2, top + high), ink, cv2.FontFace("sans"), high)
