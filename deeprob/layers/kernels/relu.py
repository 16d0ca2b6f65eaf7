"""The loops of the rectifiers' gradients, each one pass over memory."""

from typing import Any

import numpy as np

from .half import narrow, widen
from .loops import ZERO

# The ranges are cut out as slices first, and values read before they are chosen between: an index known not
# to be negative, and a load that always happens, let the compiler vectorise.


def relu_gradient(start: int, stop: int, y: Any, dy: Any, dx: Any) -> None:
    """dx = dy where y > 0, else 0."""
    y, dy, dx = y[start:stop], dy[start:stop], dx[start:stop]
    for i in range(y.size):
        d = dy[i]
        dx[i] = d if widen(y[i]) > ZERO else narrow(ZERO, dx)


def leaky_relu_gradient(start: int, stop: int, x: Any, dy: Any, slope: float, dx: Any) -> None:
    """dx = dy where x > 0, else slope dy."""
    x, dy, dx = x[start:stop], dy[start:stop], dx[start:stop]
    leak = np.float32(slope)
    for i in range(x.size):
        d = dy[i]
        dx[i] = d if widen(x[i]) > ZERO else narrow(leak * widen(d), dx)
