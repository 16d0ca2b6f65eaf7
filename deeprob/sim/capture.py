"""PyBullet talks on stdout and stderr from C: kept from the terminal, and kept for the error message."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType


class Chatter:
    """What was printed inside a `captured()` block; complete when the block has ended."""

    text = ""


@contextlib.contextmanager
def captured() -> Iterator[Chatter]:
    """Send everything the process prints, from C too, into the yielded Chatter instead of the terminal."""
    chatter = Chatter()
    _flush()
    with tempfile.TemporaryFile() as file:
        kept = [(target, os.dup(target)) for target in (1, 2)]
        try:
            for target, _ in kept:
                os.dup2(file.fileno(), target)
            yield chatter
        finally:
            _flush()
            for target, copy in kept:
                os.dup2(copy, target)
                os.close(copy)
            file.seek(0)
            chatter.text = file.read().decode(errors="replace").strip()


def _flush() -> None:
    """Empty Python's buffers and C's, so that what is in them goes where it was meant to go."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)


def import_pybullet() -> ModuleType:
    """The pybullet module, imported without its line on stderr."""
    if "pybullet" not in sys.modules:
        with captured():
            return importlib.import_module("pybullet")
    return sys.modules["pybullet"]
