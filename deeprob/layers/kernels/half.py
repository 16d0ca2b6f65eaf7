"""How loops read and write bfloat16: as whole numbers of 16 bits, the upper half of a float32.

A loop says widen(x[i]) and y[i] = narrow(value, y), and is compiled for both types: for float32 these say
nothing.
"""

from collections.abc import Callable
from functools import cached_property
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor


class ByType:
    """A function that loops call, whose text depends on the types of its arguments.

    choose(*types) returns the function for these types of numba's.
    """

    def __init__(self, choose: Callable[..., Callable[..., Any]]) -> None:
        self.choose = choose

    def __call__(self, *arguments: Any) -> Any:
        """Refuse: only compiled loops can call it."""
        raise TypeError(f"{self.choose.__name__}: expected a compiled loop as its caller, got Python")

    @cached_property
    def compiled(self) -> Any:
        """What numba's loops call."""
        from numba.extending import overload

        choose: Any = self.choose
        # without annotations, which numba would compare
        name, chooser = (FunctionType(choose.__code__, choose.__globals__, choose.__name__) for _ in range(2))
        overload(name)(chooser)
        return name


def is_float(kind: Any) -> bool:
    """Whether numba's type is float32, of a number or of an array."""
    from numba import types

    return bool(getattr(kind, "dtype", kind) == types.float32)


def choose_widen(v: Any) -> Callable[..., Any]:
    """Return the function that reads an entry as float32."""
    if is_float(v):
        return lambda v: v
    return lambda v: np.uint32(np.uint32(v) << np.uint32(16)).view(np.float32)


def choose_narrow(v: Any, like: Any) -> Callable[..., Any]:
    """Return the function that makes a number an entry of the array `like`: the nearest, even at a tie."""
    if is_float(like):
        return lambda v, like: np.float32(v)

    def rounded(v, like):  # type: ignore[no-untyped-def]
        bits = np.float32(v).view(np.uint32)
        odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
        upper = np.uint32(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))
        return np.uint16(upper) if v == v else np.uint16(0x7FC0)  # NaN stays NaN

    return rounded


widen, narrow = ByType(choose_widen), ByType(choose_narrow)


def as_words(x: Any) -> Any:
    """View a tensor of bfloat16 as its bits, which numba knows; anything else as it is.

    A view whose sign torch keeps as a bit beside the memory, as of a conjugate's imaginary part, is copied.
    """
    if isinstance(x, Tensor):
        if x.is_neg():
            x = x.resolve_neg()
        if x.dtype is torch.bfloat16:
            return x.detach().view(torch.uint16)
    return x
