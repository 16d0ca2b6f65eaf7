"""The shares of a loop on the very threads that torch's own operations run on.

torch spreads an operation over OpenMP's threads (libgomp's), which wait a while at their cores. A
second pool of threads has to push them aside first: 0.1 to 0.2 ms a loop. So a loop is spread as torch's are,
by GOMP_parallel. Each thread enters a few instructions that are made here (`SHARES`), which call the machine
code that numba made of the loop, without Python and its lock.

numba's calling convention and GOMP_parallel are not public. All that knows them is in this file; `spread`
says False where a thing is not as it should be, and its caller has another way.
"""

import ctypes
import os
import struct
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch import Tensor

# record: numba's function, number of shares, rows of a share, rows, status, then the words of the arguments.
# A function of numba's returns 0 or -2 (None), and takes a place for its result and one for its exception.
SHARES = """
define void @shares(ptr %record) {{
  %result = alloca [8 x i64]
  %error = alloca ptr
  %first = call i32 inttoptr (i64 {thread_num} to ptr)()
  %threads = call i32 inttoptr (i64 {num_threads} to ptr)()
  %share = sext i32 %first to i64
  %step = sext i32 %threads to i64
  %function = load ptr, ptr %record
  %at1 = getelementptr i64, ptr %record, i64 1
  %count = load i64, ptr %at1
  %at2 = getelementptr i64, ptr %record, i64 2
  %size = load i64, ptr %at2
  %at3 = getelementptr i64, ptr %record, i64 3
  %rows = load i64, ptr %at3
  %status = getelementptr i64, ptr %record, i64 4
{loads}
  br label %check
check:
  %k = phi i64 [ %share, %0 ], [ %following, %went ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %work, label %end
work:
  %start = mul i64 %k, %size
  %beyond = add i64 %start, %size
  %over = icmp slt i64 %rows, %beyond
  %stop = select i1 %over, i64 %rows, i64 %beyond
  %returned = call i32 %function(ptr %result, ptr %error, i64 %start, i64 %stop{arguments})
  %none = icmp eq i32 %returned, -2
  %zero = icmp eq i32 %returned, 0
  %fine = or i1 %none, %zero
  br i1 %fine, label %went, label %failed
failed:
  store i64 1, ptr %status
  br label %went
went:
  %following = add i64 %k, %step
  br label %check
end:
  ret void
}}
"""
NAMES = {"i": "i64", "d": "double", "b": "i8"}  # a byte is the first of its word
SIMPLE = {int: ("int64", "i"), float: ("float64", "d"), bool: ("boolean", "b"), NoneType: ("none", "i")}
HEAD = 5  # words of a record before the arguments'


def spread(compiled: Any, size: int, count: int, arguments: Sequence[Any], flat: bool) -> bool:
    """Call compiled(start, stop, *arguments) on shares of `size` of range(count); say whether it was done.

    arguments: tensors, arrays, numbers, None, tuples of whole numbers; flat: tensors, dense ones, go in as
    one row each. False where torch has no OpenMP, an argument is something else, or a share failed: then the
    caller's other way raises what went wrong.
    """
    num_shares = -(-count // size)
    parallel = gomp_parallel()
    if parallel is None:
        return False
    words = [0, num_shares, size, count, 0]
    kinds = tuple([describe(a, flat, words) for a in arguments])
    words[0], shares = entry(compiled, kinds)
    if not shares:
        return False
    record = array("q", words)
    parallel(shares, record.buffer_info()[0], num_shares, 0)
    return not record[HEAD - 1]


def describe(value: Any, flat: bool, words: list[int]) -> Any:
    """Return a key for numba's type of an argument, "" for others, and append the words it is passed as.

    An array is passed as two addresses of its owner (none), its size, the bytes of an entry, its address, and
    an extent and a stride in bytes for each axis.
    """
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        item, entries = value.element_size(), value.numel()
        words += (0, 0, entries, item, value.data_ptr())
        if flat:
            words += (entries, item)
            return value.dtype, 1, True
        words += value.shape
        words += [s * item for s in value.stride()]
        return value.dtype, value.dim(), value.is_contiguous()
    kind = type(value)
    if kind in (int, bool, NoneType):
        words.append(value or 0)
        return kind
    if kind is float:
        words += struct.unpack("q", struct.pack("d", value))
        return kind
    if kind is tuple and all(type(v) is int for v in value):
        words += value
        return len(value)
    return ""


def numba_type(kind: Any) -> Any:
    """Return numba's type of what `describe` found."""
    from numba import types

    if kind in SIMPLE:
        return getattr(types, SIMPLE[kind][0])
    if isinstance(kind, int):
        return types.UniTuple(types.int64, kind)
    dtype, axes, contiguous = kind
    return types.Array(getattr(types, str(dtype).removeprefix("torch.")), axes, "C" if contiguous else "A")


@cache
def entry(compiled: Any, kinds: tuple[Any, ...]) -> tuple[int, int | None]:
    """Return the addresses of numba's machine code for these arguments, and of what calls it by shares."""
    from numba import types

    if "" in kinds:
        return 0, None
    signature = (types.int64, types.int64, *map(numba_type, kinds))
    try:
        compiled.compile(signature)
        made = compiled.overloads[signature]
        function = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
        passed = [word for kind in kinds for word in words_of(kind)]
        return function, caller("".join(passed))
    except Exception:  # another numba: whatever it is that is not there, the caller has another way
        return 0, None


def words_of(kind: Any) -> str:
    """Return a letter for each word of an argument: double, byte, or integer, which an address is too."""
    if kind in SIMPLE:
        return SIMPLE[kind][1]
    return "i" * (kind if isinstance(kind, int) else 5 + 2 * kind[1])


ENGINES: list[Any] = []  # what was compiled lives as long as its engine


@cache
def caller(passed: str) -> int:
    """Compile SHARES for arguments of these words, and return its address."""
    from llvmlite import binding

    gomp = ctypes.CDLL("libgomp.so.1")
    loads, arguments = [], []
    for n, letter in enumerate(passed):
        loads.append(f"  %p{n} = getelementptr i64, ptr %record, i64 {HEAD + n}")
        loads.append(f"  %w{n} = load {NAMES[letter]}, ptr %p{n}")
        arguments.append(f", {NAMES[letter]} %w{n}")
    text = SHARES.format(
        thread_num=ctypes.cast(gomp.omp_get_thread_num, ctypes.c_void_p).value,
        num_threads=ctypes.cast(gomp.omp_get_num_threads, ctypes.c_void_p).value,
        loads="\n".join(loads),
        arguments="".join(arguments),
    )
    machine = binding.Target.from_default_triple().create_target_machine()
    engine = binding.create_mcjit_compiler(binding.parse_assembly(text), machine)
    engine.finalize_object()
    ENGINES.append(engine)
    return int(engine.get_function_address("shares"))


@cache
def gomp_parallel() -> Callable[..., None] | None:
    """Return GOMP_parallel of the libgomp that torch has loaded, or None."""
    if "OpenMP" not in torch.__config__.parallel_info().rpartition("parallel backend:")[2]:
        return None
    try:
        gomp = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOW | getattr(os, "RTLD_NOLOAD", 0))
        function = gomp.GOMP_parallel
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    function.restype = None
    return function
