"""How the loops of the rasteriser and the simulator are compiled, and the array types that they take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from deeprob.machine_code import keep

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
I32: TypeAlias = NDArray[np.int32]
I64: TypeAlias = NDArray[np.int64]
U8: TypeAlias = NDArray[np.uint8]
U32: TypeAlias = NDArray[np.uint32]
Flags: TypeAlias = NDArray[np.bool_]

Loop = TypeVar("Loop", bound=Callable[..., object])


def kernel(function: Loop) -> Loop:
    """Compile a function with numba, cached on disk; it runs without Python's lock.

    No fast-math: reordered or fused arithmetic would make the pictures depend on the processor.
    """
    compiled: Loop = njit(cache=True, nogil=True, error_model="numpy")(function)
    keep(compiled, _sources())
    return compiled


@cache
def _sources() -> list[Path]:
    """The files of this room that hold kernels: what is inlined into one may come from any of them."""
    return [p for p in Path(__file__).parent.glob("*.py") if "kernel import" in p.read_text(encoding="utf-8")]


def inlined(function: Loop) -> Loop:
    """A kernel that is compiled into its callers."""
    compiled: Loop = njit(error_model="numpy", inline="always")(function)
    return compiled
