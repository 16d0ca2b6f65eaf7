"""A pose refined on what a network says of a crop's cells: mask, points of the object, and depth where it is.

A mask tells distance and centre well and a turn badly: so without depth the object is shifted first, and then
moved freely, from several starts. The pose stays where the picture is not nearer, or where there is no mesh.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.models.pose.by_render import Drawn, Seen
from deeprob.models.pose.descent import refined

Floats = NDArray[np.float64]

STEPS, STARTS, STARTS_WITHOUT_DEPTH = 15, 4, 8
SHIFTS = (0, 1, 2)  # of the six motions
REFINED, NO_BETTER, NO_MESH = "refined", "nothing better found", "no mesh to draw"


def refined_on_cells(
    T: Floats, K: Tensor, mask: Tensor, points: Tensor, depth: Tensor, drawn: Drawn | None, side: int
) -> tuple[Floats, str]:
    """The pose (4, 4) of a crop of `side` pixels and camera K (3, 3), and what became of it.

    mask: float32 (G, G), 0 to 1. points: (G, G, 3), metres from the object's middle. depth: (G, G), metres.
    """
    if drawn is None:
        return T, NO_MESH
    shrink = len(mask) / side  # from pixels to cells, both at their centres
    to_cells = torch.tensor([[shrink, 0, shrink / 2 - 0.5], [0, shrink, shrink / 2 - 0.5], [0, 0, 1]])
    read = depth if bool((depth > 0).any()) else None
    seen = [Seen(to_cells @ K, mask, read, None, points)]
    start = T if read is not None else refined(T, seen, drawn, (STEPS,), free=SHIFTS).T
    found = refined(start, seen, drawn, (STEPS,), STARTS_WITHOUT_DEPTH if read is None else STARTS)
    return found.T, NO_BETTER if np.array_equal(found.T, T) else REFINED
