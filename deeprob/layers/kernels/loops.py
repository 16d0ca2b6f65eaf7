"""Loops for the CPU, where memory is the limit: one pass over the data for a chain of tensor operations.

Each loop states one formula of a layer row by row, on float32 arrays shared with torch. numba compiles it
when first used and keeps the result on disk; `run` spreads the rows over as many threads as torch uses.
"""

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, update_wrapper
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeprob.machine_code import keep

from .exponential import exponential
from .half import ByType, as_words
from .threads import spread
from .tile import Instruction

# NaN and infinity must come through, so not the whole of fastmath
FAST = {"reassoc", "contract", "arcp", "nsz"}
# error_model: a division by zero gives infinity, as in torch; a test for it would stop vectorisation
OPTIONS: dict[str, Any] = {"fastmath": FAST, "nogil": True, "error_model": "numpy"}
ZERO = np.float32(0)
IMPORTS, WORDS = re.compile(r"^from .+", re.MULTILINE), re.compile(r"\w+")


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
        return numba.njit(loop, **OPTIONS)  # type: ignore[no-any-return]
    keep(compiled, sources(Path(loop.__code__.co_filename)))
    return compiled


def sources(file: Path) -> set[Path]:
    """Find what loops in a file are compiled from: it, this, and what they import of this folder."""
    folder = Path(__file__).parent
    found: set[Path] = set()
    new = {file, Path(__file__)}
    while new:
        found |= new
        lines = [line for path in new for line in IMPORTS.findall(path.read_text(encoding="utf-8"))]
        named = {folder / f"{word}.py" for line in lines for word in WORDS.findall(line)}
        new = {path for path in named - found if path.is_file()}
    return found


def with_compiled_parts(loop: Callable[..., None]) -> Callable[..., None]:
    """Return the loop with the functions of our kernels that it calls compiled: numba takes no plain ones."""
    names = loop.__globals__
    parts = {
        name: compile_part(part, part.__module__ in (loop.__module__, exponential.__module__))
        for name in loop.__code__.co_names
        if isinstance(part := names.get(name), FunctionType | Instruction | ByType)
        and part.__module__.startswith(KERNELS)
    }
    if not parts:
        return loop
    return update_wrapper(FunctionType(loop.__code__, {**names, **parts}, loop.__name__), loop)


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
