"""Label maps as objects: the connected parts of each class, and the boxes around them."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Region(NamedTuple):
    """One part of a label map. label: its value. rows, columns: of its N cells."""

    label: int
    rows: Ints
    columns: Ints

    def box(self, cell: int) -> list[float]:
        """Left, top, right, bottom of its first and last pixels, of cells `cell` pixels wide."""
        low = self.columns.min(), self.rows.min()
        high = self.columns.max() + 1, self.rows.max() + 1
        return [float(cell * x) for x in low] + [float(cell * x - 1) for x in high]


def regions_of(labels: Ints, least: int) -> list[Region]:
    """The connected parts of at least `least` cells of each label but 0 in a map (H, W), by their labels.

    Cells that touch at a corner are connected: two instances of a class that touch are one region.
    """
    found = []
    for label in np.unique(labels[labels > 0]).tolist():
        count, parts, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8))
        for part in range(1, count):
            if stats[part, cv2.CC_STAT_AREA] >= least:
                rows, columns = np.nonzero(parts == part)
                found.append(Region(label, rows, columns))
    return found
