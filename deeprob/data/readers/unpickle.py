"""Pickles from the net: arrays, numbers, text and plain containers come out, and no code is ever called.

While a pickle is read, its types and arrays are descriptions only, which a BUILD cannot turn into anything
else. When it has been read whole, each description is checked, and arrays are made of their bytes.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deeprob.data.readers.reading import read_bytes
from deeprob.errors import InputError


def read_pickle(path: Path) -> Any:
    """Load a pickle of NumPy arrays and plain containers, also one written by Python 2.

    Raises InputError where the file is missing or broken, or asks for any other class or function.
    """
    try:
        content = read_bytes(path)
        _check_opcodes(content)
        return _made(_Unpickler(io.BytesIO(content), encoding="latin1").load(), {})
    except InputError:
        raise
    except _ForbiddenError as error:
        raise InputError(
            f"the pickle asks for {error}", where=path, expected="NumPy arrays and plain containers"
        ) from None
    except Exception as error:  # a broken pickle raises whatever its opcodes stumble over
        raise InputError(f"broken pickle ({type(error).__name__}: {error})", where=path) from None


def _check_opcodes(content: bytes) -> None:
    """Raise ValueError for what would take memory or time that no honest file of this length needs.

    A place far out in the memo has a table filled up to there. A tuple of two of the same tuple, sixty times
    over, is a hundred bytes; as a key all that it stands for is hashed, and that is counted here.
    """
    stack: list[int | None] = []  # what the tuples on it stand for, 1 for all else; None is a mark
    memo: dict[int, int] = {}

    def pop(count: int) -> list[int]:
        return [stack.pop() or 1 for _ in range(count)]

    def pop_to_mark() -> list[int]:
        at = len(stack) - 1 - stack[::-1].index(None)
        taken = [size or 1 for size in stack[at + 1 :]]
        del stack[at:]
        return taken

    for opcode, argument, _ in pickletools.genops(content):
        name, before = opcode.name, opcode.stack_before
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            if not 0 <= (argument or 0) <= len(content):
                raise ValueError(f"place {argument} of the memo")
            memo[int(argument or 0)] = stack[-1] or 1
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1] or 1
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(int(argument or 0), 1))
        elif name == "MARK":
            stack.append(None)
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "POP":
            stack.pop()
        else:
            several = pickletools.markobject in before
            taken = pop_to_mark() if several else pop(len(before))
            if several:
                pop(before.index(pickletools.markobject))
            made = 1 + sum(taken) if name.startswith("TUPLE") else 1
            if made > max(MOST_IN_A_TUPLE, len(content)):
                raise ValueError("a tuple that holds another one again and again")
            stack.extend([made] * len(opcode.stack_after))


MOST_IN_A_TUPLE = 1_000_000


class _ForbiddenError(Exception):
    """A class or function that a pickle may not name, or what it may not do to one."""


class _Named:
    """What a pickle gets for a name: it can be called, and nothing of it changed."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _ForbiddenError("a function to be changed")


class _Described(ABC):
    """A description: the arguments that a pickle calls for, and the state that it sets; both as they came."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    @abstractmethod
    def make(self) -> Any:
        """Check the description and make what it stands for."""


class _Type(_Described):
    """The type of an array's elements: dtype(text, align, copy), state (3, byte order, None, ...)."""

    __slots__ = ()

    def make(self) -> np.dtype[Any]:
        """Numbers, truth values and text of a fixed length, never Python objects or records."""
        text = self.arguments[0] if self.arguments else None
        if not isinstance(text, str) or not re.fullmatch(r"[<>=|]?[biufSUc?]\d{0,9}", text):
            kind = "objects" if str(text).lstrip("<>=|").startswith("O") else repr(str(text)[:40])
            raise _ForbiddenError(f"an array of {kind}")
        dtype = np.dtype(text)
        if not dtype.itemsize:  # NumPy makes arrays of it that are larger than their bytes
            raise _ForbiddenError("an array of elements without bytes")
        if self.state is None:
            return dtype
        _, order, *rest = self.state
        parts, size = rest[:3], rest[3]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts):
            raise _ForbiddenError("an array of records")
        if size not in (-1, dtype.itemsize):
            raise ValueError(f"elements of {size} bytes, of {dtype.itemsize}")
        return dtype if order == "|" else dtype.newbyteorder(order)


class _Array(_Described):
    """An array: _reconstruct(ndarray, shape, type), state (1, shape, type, whether columns first, bytes)."""

    __slots__ = ()

    def make(self) -> np.ndarray[Any, Any]:
        """An array of its own memory, as large as its bytes are."""
        _, shape, dtype, by_columns, content = self.state
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"shape {str(shape)[:40]}")
        array = _elements(dtype, content, math.prod(shape))
        return array.reshape(shape, order="F" if by_columns else "C")


class _Scalar(_Described):
    """A number: scalar(type, bytes)."""

    __slots__ = ()

    def make(self) -> Any:
        """The one element that its bytes are."""
        dtype, content = self.arguments
        return _elements(dtype, content, 1)[0]


def _elements(described: Any, content: Any, count: int) -> np.ndarray[Any, Any]:
    """Copy `count` elements out of bytes, which are text in pickles of Python 2."""
    if not isinstance(described, _Type):
        raise ValueError("a type that is none")
    dtype = described.make()
    content = content.encode("latin1") if isinstance(content, str) else content
    if not isinstance(content, bytes) or len(content) != count * dtype.itemsize:
        raise ValueError(f"the bytes are not those of {count} elements of {dtype.itemsize} bytes")
    array = np.frombuffer(content, dtype).copy() if content else np.zeros(count, dtype)
    if dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        raise ValueError("a truth value is neither 0 nor 1")
    if dtype.kind == "U" and (array.view(dtype.byteorder.replace("=", "") + "u4") > 0x10FFFF).any():
        raise ValueError("a letter that is none")
    return array


def _made(value: Any, known: dict[int, Any]) -> Any:
    """Put what descriptions stand for in their places; known: what was made of each object, by its id."""
    if isinstance(value, (_Described, dict, list, tuple, set)):
        if id(value) in known:
            return known[id(value)]
        if isinstance(value, _Described):
            known[id(value)] = value.make()
        elif isinstance(value, dict):
            known[id(value)] = made = {}
            made.update({_made(key, known): _made(entry, known) for key, entry in value.items()})
        elif isinstance(value, list):
            items: list[Any] = []
            known[id(value)] = items
            items.extend(_made(entry, known) for entry in value)
        else:
            known[id(value)] = type(value)([_made(entry, known) for entry in value])
        return known[id(value)]
    if isinstance(value, _Named):
        raise _ForbiddenError("a function as a value")
    return value


def _encode(text: str, encoding: str) -> bytes:
    """Turn text into the bytes that pickle protocols before 3 wrote as text."""
    if encoding != "latin1":
        raise _ForbiddenError(f"_codecs.encode with {str(encoding)[:20]!r}")
    return text.encode("latin1")


_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_ARRAY = ("numpy", "ndarray")  # only named as the type to reconstruct: a call could allocate at will
_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): lambda: b"",  # how protocols before 3 write no bytes
    **{(module, "set"): lambda items=(): set(items) for module in ("builtins", "__builtin__")},
    **{(module, "_reconstruct"): _Array for module in _MODULES},
    **{(module, "scalar"): _Scalar for module in _MODULES},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == _ARRAY:
            return name
        if (module, name) not in _ALLOWED:
            raise _ForbiddenError(f"{module[:40]}.{name[:40]}")
        return _Named(_ALLOWED[module, name])

    def persistent_load(self, identifier: Any) -> Any:
        raise _ForbiddenError("a persistent object")
