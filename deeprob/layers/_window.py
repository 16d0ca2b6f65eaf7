"""Sliding windows: their sizes, given as one number or two."""

from collections.abc import Sequence

from ._function import expect

Pair = int | Sequence[int]


def pair(value: Pair) -> tuple[int, int]:
    """Return a number twice, a pair as it is."""
    if isinstance(value, int):
        return (value, value)
    expect(len(value) == 2, "layers", "a number or a pair", value)
    return (int(value[0]), int(value[1]))


def single(value: Pair) -> int:
    """Return a number, or the only one of a sequence."""
    return value if isinstance(value, int) else int(value[0])
