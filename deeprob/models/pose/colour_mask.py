"""A mask from colour alone: what is more like the object's inside than like its surroundings.

    p(x) = f(c) / (f(c) + b(c))        c: the colour of pixel x; f, b: how often it occurs inside and around

Both are histograms of a picture's colours, inside and around the silhouette of a pose that is about right.
Source: Prisacariu and Reid, PWP3D: Real-time segmentation and tracking of 3D objects (2012).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from deeprob import layers
from deeprob.models.pose.by_render import Drawn, Seen

BINS = 16  # of each of red, green and blue
BLUR = 1.0  # of the histograms, bins
FLOOR = 1e-5  # of a colour that occurs nowhere: it says nothing
EDGE, AROUND = 1 / 32, 1 / 6  # of the picture's side: what is left out at the silhouette, what is around it
FEWEST = 30  # pixels inside


def with_colour_mask(T: NDArray[np.float64], seen: Seen, drawn: Drawn) -> Seen:
    """The same with a mask, 0 to 1, from its colours under a pose (4, 4); NaN where no colour is known."""
    assert seen.rgb is not None
    shown = silhouette(T, seen, drawn).astype(np.uint8)
    known, side, square = ~seen.rgb.isnan().any(-1).numpy(), len(shown), np.ones((3, 3), np.uint8)
    edge = max(1, round(EDGE * side))
    inside = (cv2.erode(shown, square, iterations=edge) > 0) & known
    if inside.sum() < FEWEST:
        inside = (shown > 0) & known
    wide = cv2.dilate(shown, square, iterations=edge + round(AROUND * side)) > 0
    around = wide & (cv2.dilate(shown, square, iterations=edge) == 0) & known
    bins = (seen.rgb.nan_to_num().numpy() * BINS).astype(np.int64).clip(0, BINS - 1)
    code = bins @ np.array([BINS * BINS, BINS, 1])
    f, b = (_frequencies(code[part]) for part in (inside, around))
    p = (f[code] + FLOOR) / (f[code] + b[code] + 2 * FLOOR)
    return seen._replace(mask=torch.from_numpy(np.where(known, p, np.nan)).float(), noisy=True)


def silhouette(T: NDArray[np.float64], seen: Seen, drawn: Drawn) -> NDArray[np.bool_]:
    """Where a pose (4, 4) shows the object on the picture's pixels: bool (H, W)."""
    place = torch.from_numpy(np.asarray(T, np.float64)).float()
    place[:3, 3] += place[:3, :3] @ drawn.middle
    points = layers.project(drawn.vertices, place[None], seen.K)
    return np.asarray((layers.visible_faces(points, drawn.faces, seen.size, drawn.closed)[0] >= 0).numpy())


def _frequencies(code: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of each colour, (BINS^3,), smoothed over its neighbours."""
    counts = np.bincount(code, minlength=BINS**3).reshape(BINS, BINS, BINS).astype(np.float64)
    smooth = gaussian_filter(counts, BLUR, mode="nearest").ravel()
    return np.asarray(smooth / max(smooth.sum(), 1e-9))
