"""Sliding windows: their sizes, given as one number or two, and how they slide."""

from collections.abc import Sequence
from typing import NamedTuple

from ._function import expect

Pair = int | Sequence[int]


class Geometry(NamedTuple):
    """How a convolution's window slides: s, a and d of conv.py, along both axes, and G.

    In this order torch's own convolution takes them, after the bias.
    """

    stride: Sequence[int] = (1, 1)
    padding: Sequence[int] = (0, 0)
    dilation: Sequence[int] = (1, 1)
    groups: int = 1


def pair(value: Pair) -> tuple[int, int]:
    """Return a number twice, a pair as it is."""
    if isinstance(value, int):
        return (value, value)
    expect(len(value) in (1, 2), "layers", "a number or a pair", value)
    return (int(value[0]), int(value[-1]))


def single(value: Pair) -> int:
    """Return a number, or the only one of a sequence."""
    return value if isinstance(value, int) else int(value[0])
