"""Loops for the CPU, where memory is the limit: one pass over the data for a chain of tensor operations.

Each loop states one formula of a layer row by row, on float32 arrays shared with torch. numba compiles it
when first used and keeps the result on disk; `run` spreads the rows over as many threads as torch uses.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, update_wrapper
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .half import ByType, as_words
from .threads import spread
from .tile import Instruction

# NaN and infinity must come through, so not the whole of fastmath
FAST = {"reassoc", "contract", "arcp", "nsz"}
# error_model: a division by zero gives infinity, as in torch; a test for it would stop vectorisation
OPTIONS: dict[str, Any] = {"fastmath": FAST, "nogil": True, "error_model": "numpy"}
ZERO = np.float32(0)


def run(loop: Callable[..., None], count: int, *arrays: Any, grain: int = 1, flat: bool = False) -> None:
    """Call loop(start, stop, *arrays) over range(count), in as many threads as torch uses.

    flat: tensors go in as one row each, in the order of their memory; they must be dense.
    """
    compiled = compile_loop(loop)
    arrays = tuple([as_words(a) for a in arrays])
    threads, size = shares(count, grain)
    if threads > 1 and spread(compiled, size, count, arrays, flat):
        return
    shared = [as_array(a, flat) if isinstance(a, Tensor) else a for a in arrays]
    if threads == 1:
        compiled(0, count, *shared)
        return
    helpers = pool(os.getpid(), threads - 1)
    jobs = [
        helpers.submit(compiled, start, min(start + size, count), *shared)
        for start in range(size, count, size)
    ]
    try:
        compiled(0, size, *shared)  # this thread takes the first share: to wait and be woken costs more
    finally:
        wait(jobs)
    for job in jobs:
        job.result()


def shares(count: int, grain: int) -> tuple[int, int]:
    """Return how many threads `run` spreads range(count) over, and the size of a thread's share of it."""
    threads = max(1, min(torch.get_num_threads(), count // grain))
    return threads, -(-count // (threads * grain)) * grain


def as_array(x: Tensor, flat: bool = False) -> Any:
    """Return the memory of x as an array of numpy's, which makes views faster than torch does."""
    array = (x.detach() if x.requires_grad else x).numpy()
    if not flat or array.ndim == 1:
        return array
    return (array if array.flags.c_contiguous else array.transpose(0, 2, 3, 1)).reshape(-1)


@cache
def compile_loop(loop: Callable[..., None]) -> Callable[..., None]:
    """Compile without Python's lock, and keep the machine code on disk."""
    import numba

    loop = with_compiled_parts(loop)
    try:
        compiled: Callable[..., None] = numba.njit(loop, cache=True, **OPTIONS)
    except RuntimeError:  # no folder to write to
        compiled = numba.njit(loop, **OPTIONS)
    return compiled


def with_compiled_parts(loop: Callable[..., None]) -> Callable[..., None]:
    """Return the loop with the functions of our kernels that it calls compiled: numba takes no plain ones."""
    called = parts_of(loop)
    if not called:
        return loop
    parts = {name: compile_part(part, part.__module__ == loop.__module__) for name, part in called.items()}
    made = update_wrapper(FunctionType(loop.__code__, {**loop.__globals__, **parts}, loop.__name__), loop)
    if others := modules_of(loop) - {loop.__module__}:
        made.__qualname__ += f"-{stamp(frozenset(others))}"
    return made


def parts_of(loop: Callable[..., None]) -> dict[str, Any]:
    """Find the functions of our kernels that a loop calls."""
    names = loop.__globals__
    return {
        name: part
        for name in loop.__code__.co_names
        if isinstance(part := names.get(name), FunctionType | Instruction | ByType)
        and part.__module__.startswith(KERNELS)
    }


def modules_of(loop: Any) -> set[str]:
    """Name the modules of a loop and of all that it calls."""
    inner = parts_of(loop).values() if isinstance(loop, FunctionType) else ()
    return {loop.__module__}.union(*(modules_of(part) for part in inner))


@cache
def stamp(modules: frozenset[str]) -> int:
    """Tell versions of what a loop calls apart: machine code on disk is known by the loop's file alone."""
    return max(os.stat(str(sys.modules[name].__file__)).st_mtime_ns for name in modules)


@cache
def compile_part(part: Any, inline: bool) -> Any:
    """Compile what a loop calls; into the loop itself, if `inline`."""
    import numba

    if isinstance(part, Instruction | ByType):
        return part.compiled
    return numba.njit(with_compiled_parts(part), forceinline=inline, **OPTIONS)


KERNELS = __name__.rpartition(".")[0] + "."  # this folder


@cache
def pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return this process's threads: a forked child gets its own."""
    return ThreadPoolExecutor(threads)


def is_dense(x: Tensor) -> bool:
    """Whether x is one row in the order of its memory, without gaps or repeats."""
    return x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
