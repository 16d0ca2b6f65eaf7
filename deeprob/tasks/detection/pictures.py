"""The frames that detections get most wrong, with what is there and what was said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deeprob.data.frame import Frame
from deeprob.metrics.detection_matches import Matches
from deeprob.page import overlays
from deeprob.page.pictures import data_uri


def worst_frames(
    matches: Matches,
    threshold: float,
    classes: Sequence[str],
    frame_of: Callable[[int], Frame],
    outlined: Callable[[int, Frame], overlays.Image] | None = None,
) -> list[dict[str, Any]]:
    """The images with the most objects missed and detections wrong, of those with at least a score.

    frame_of: the frame of an image's number in `matches`. outlined: draws masks on a frame's image.
    """
    unfound, above = matches.object_scores < threshold, matches.scores >= threshold
    missed = np.bincount(matches.object_images[unfound], minlength=matches.num_images)
    wrong = np.bincount(matches.images[above & ~matches.hit], minlength=matches.num_images)
    there = np.bincount(matches.object_images, minlength=matches.num_images)
    shown = []
    for image in np.lexsort((-missed, -(missed + wrong)))[: overlays.NUM_WORST].tolist():
        if missed[image] + wrong[image] == 0:
            break
        frame = frame_of(image)
        said = f"{missed[image]} of {there[image]} missed, {wrong[image]} wrong"
        picture = frame.image if outlined is None else outlined(image, frame)
        drawn = overlays.labelled_boxes(picture, _drawn(matches, image, threshold, classes))
        shown.append(
            {
                "image": data_uri(drawn, ".jpg"),
                "said": said,
                "of": frame.key,
                "key": frame.key,
                "alt": f"{frame.key}, {said}",
            }
        )
    return shown


def _drawn(
    matches: Matches, image: int, threshold: float, classes: Sequence[str]
) -> list[tuple[Any, overlays.Colour, str]]:
    """The boxes of an image, each with its colour and text: right ones first, what is missed on top."""
    rows = np.flatnonzero((matches.images == image) & (matches.scores >= threshold))
    objects = np.flatnonzero(matches.object_images == image)
    drawn: list[tuple[Any, overlays.Colour, str]] = []
    for i in objects:
        name = classes[matches.object_classes[i]] if matches.object_scores[i] < threshold else ""
        drawn.append((matches.object_boxes[i], overlays.TRUE, name))
    for i in rows[::-1]:
        colour = overlays.RIGHT if matches.hit[i] else overlays.ESTIMATED
        drawn.append((matches.boxes[i], colour, f"{classes[matches.classes[i]]} {matches.scores[i]:.2f}"))
    ranks = {overlays.RIGHT: 0, overlays.ESTIMATED: 1, overlays.TRUE: 2}
    return sorted(drawn, key=lambda one: -1 if one[1] == overlays.TRUE and not one[2] else ranks[one[1]])
