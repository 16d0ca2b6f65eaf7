"""The lamp: how much of it reaches a run of pixels, and the colours that become of it, in numba.

A picture is drawn in pixels of 32 bits, red in the lowest byte, the highest unused: eight of them are stored
at a time. Loops here are short and over local numbers of 32 bits, which the compiler vectorises.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprob.geometry.kernel import F32, F64, I32, inlined
from deeprob.sim.shadow import lit


class Lighting(NamedTuple):
    """One lamp and its shadows.

    ambient, diffuse (3,), exposure included; specular: what of the lamp shines on objects, in grey levels;
    strength: what a shadow takes; bias metres; shadow float32 (S, S) and roof ((S - 1) (S - 1),): as
    shadow_map writes them; to_shadow (3, 4): from pixel and depth, (u, v, 1) z, 1, to shadow pixel and
    height; offset: contrast, in grey levels.
    """

    ambient: F64
    diffuse: F64
    specular: float
    strength: float
    bias: float
    shadow: F32
    roof: F32
    to_shadow: F64
    offset: float


@inlined
def reach(
    light: Lighting, first: int, end: int, y: int, xs: F32, zs: F32, lamps: F32, cells: I32, out: F32
) -> None:
    """Write the share of the lamp, 0..1, that reaches pixels first..end - 1 of row y, to out.

    All arrays are of the picture's width: xs 0, 1, 2, ...; zs depths; lamps: where it is not above 0, nothing
    is looked up; cells: room. out is the room of the heights, too, until the shares take their place.
    """
    M, roof, shadow = light.to_shadow, light.roof, light.shadow
    across = np.int32(shadow.shape[0] - 1)
    none, one, limit, never = np.float32(0), np.float32(1), np.float32(across), np.float32(np.inf)
    ux, ur, u0 = np.float32(M[0, 0]), np.float32(M[0, 1] * y + M[0, 2]), np.float32(M[0, 3])
    vx, vr, v0 = np.float32(M[1, 0]), np.float32(M[1, 1] * y + M[1, 2]), np.float32(M[1, 3])
    hx, hr, h0 = np.float32(M[2, 0]), np.float32(M[2, 1] * y + M[2, 2]), np.float32(M[2, 3] + light.bias)
    taken = np.float32(light.strength)
    for m in range(first, end):
        n = np.uintp(m)
        x, z = xs[n], zs[n]
        u, v, h = (ux * x + ur) * z + u0, (vx * x + vr) * z + v0, (hx * x + hr) * z + h0
        inside = (lamps[n] > none) & (u >= none) & (v >= none) & (u < limit) & (v < limit)
        u, v = (u, v) if inside else (none, none)
        out[n] = h if inside else never
        cells[n] = np.int32(v) * across + np.int32(u)
    for m in range(first, end):
        n = np.uintp(m)
        height = out[n]
        share = one
        if not roof[np.uintp(cells[n])] <= height:
            x, z = xs[n], zs[n]
            u, v = (ux * x + ur) * z + u0, (vx * x + vr) * z + v0
            share = one - taken * (one - np.float32(lit(shadow, u, v, height)))
        out[n] = share


@inlined
def level(value: np.float32) -> np.int32:
    """A colour value as a whole grey level, clipped and rounded."""
    low, high = np.float32(0), np.float32(255)
    value = value if value > low else low
    value = value if value < high else high
    return np.int32(value + np.float32(0.5))


@inlined
def pack(red: np.float32, green: np.float32, blue: np.float32) -> np.integer:
    """Three colour values as one pixel."""
    return level(red) | level(green) << 8 | level(blue) << 16
