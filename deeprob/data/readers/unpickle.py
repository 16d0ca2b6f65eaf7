"""Pickles from the net: arrays, numbers, text and plain containers come out, and no code is ever called."""

from __future__ import annotations

import io
import pickle
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
        return _Unpickler(io.BytesIO(read_bytes(path)), encoding="latin1").load()
    except InputError:
        raise
    except _ForbiddenError as error:
        raise InputError(
            f"the pickle asks for {error}", where=path, expected="NumPy arrays and plain containers"
        ) from None
    except Exception as error:  # a broken pickle raises whatever its opcodes stumble over
        raise InputError(f"broken pickle ({type(error).__name__}: {error})", where=path) from None


class _ForbiddenError(Exception):
    """A class or function that a pickle may not name."""


def _empty_array(subtype: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """Make the empty array that __setstate__ then fills; the shape asked for is not allocated."""
    return np.ndarray.__new__(np.ndarray, (0,), np.int8)


def _encode(text: str, encoding: str) -> bytes:
    """Turn text into the bytes that pickle protocols before 3 wrote as text."""
    if encoding != "latin1":
        raise _ForbiddenError(f"_codecs.encode with {str(encoding)[:20]!r}")
    return text.encode("latin1")


def _dtype(text: str, *_: Any) -> np.dtype[Any]:
    """Make the type of an array's elements: numbers and text, never Python objects."""
    dtype = np.dtype(str(text))
    if dtype.kind not in "biufSU":
        raise _ForbiddenError(f"an array of {dtype}")
    return dtype


_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_ARRAY = ("numpy", "ndarray")  # only named as the type to reconstruct: a call could allocate at will
_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    **{(module, "set"): set for module in ("builtins", "__builtin__")},
    **{(module, "_reconstruct"): _empty_array for module in _MODULES},
    **{(module, "scalar"): np._core.multiarray.scalar for module in _MODULES},  # type: ignore[attr-defined]
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == _ARRAY:
            return name
        if (module, name) not in _ALLOWED:
            raise _ForbiddenError(f"{module[:40]}.{name[:40]}")
        return _ALLOWED[module, name]

    def persistent_load(self, identifier: Any) -> Any:
        raise _ForbiddenError("a persistent object")
