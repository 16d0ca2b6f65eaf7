"""Standard output that outlives whoever reads it: a training does not end because `head` has seen enough."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Enduring(io.FileIO):
    """A descriptor that is written to as long as that works; what comes later goes nowhere.

    lost: why it stopped working, None while it works.
    """

    lost: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:  # a pipe without a reader, a full disk, a terminal that hung up
            self.lost = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(memoryview(data))


def open_closed() -> None:
    """Open what was started closed (`>&-`): the next file would get its number, and what is printed."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, this one
            setattr(sys, name, open(descriptor, "r" if descriptor == 0 else "w", closefd=False))  # noqa: SIM115


def endure() -> None:
    """Let standard output and errors go on whatever becomes of where they lead."""
    for name in ("stdout", "stderr"):
        stream: TextIO = getattr(sys, name)
        stream.flush()
        raw = Enduring(stream.fileno(), "w", closefd=False)
        text = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding,
            errors="replace",  # in a locale of ASCII, a question mark in place of a cross
            line_buffering=name == "stderr" or raw.isatty(),
        )
        setattr(sys, name, text)


def lost_output() -> str | None:
    """Why some of standard output was not written; None where all was, or where its reader has left."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error.strerror
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    lost = raw.lost if isinstance(raw, Enduring) else None
    return None if lost is None or lost.errno == errno.EPIPE else lost.strerror
