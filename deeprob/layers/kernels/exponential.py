"""The exponential of the loops, in float32, written so that a loop around it vectorises.

e^v = 2^n e^f with n = round(v / ln 2) and |f| <= ln 2 / 2: 2^n is written as the bits of a float, e^f is its
Taylor polynomial of degree 6 (relative error 2e-7). v is not to lie below LOWEST.
"""

from typing import Any

import numpy as np

F = np.float32
ONE, HALF = F(1), F(0.5)
LOWEST, LOG2E, LN2_HIGH, LN2_LOW = F(-87), F(1.4426950408889634), F(0.693359375), F(-2.12194440e-4)
C2, C3, C4, C5, C6 = F(1 / 2), F(1 / 6), F(1 / 24), F(1 / 120), F(1 / 720)
BIAS, SHIFT = np.int32(127), np.int32(23)


def exponential(v: Any) -> Any:
    """Return e^v."""
    n = np.floor(v * LOG2E + HALF)
    f = v - n * LN2_HIGH - n * LN2_LOW
    power = np.int32((np.int32(n) + BIAS) << SHIFT).view(np.float32)
    return power * (ONE + f * (ONE + f * (C2 + f * (C3 + f * (C4 + f * (C5 + f * C6))))))
