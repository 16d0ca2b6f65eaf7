"""Files written whole: a reader sees the old one or the new one, also after kill -9 or a full disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from deeprob.errors import InputError

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # no fault of the input
LOCK_SECONDS = 180.0  # until a file server lets go of a dead node's lock


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary neighbour of `path`, and put it in its place only when the block ends well.

    A reader sees the old file or the new one, never a part, also after kill -9 or a full disk. Raises OSError
    that names `path` where nothing can be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        # Names of files and classes may hold what UTF-8 has no place for: a stray byte, half of a pair.
        text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace"}
        with naming(path), os.fdopen(descriptor, mode, **text) as file:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must outlive a power cut
    finally:
        os.close(folder)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise a full or failing disk's error with the path that was being written, whoever met it."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # torch and zipfile tell it in words of their own
        cause: BaseException | None = error
        while cause is not None and getattr(cause, "errno", None) not in DISK:
            cause = cause.__cause__ or cause.__context__
        if isinstance(cause, OSError) and cause.filename is None:
            raise OSError(cause.errno, cause.strerror, str(path)) from error
        if (
            isinstance(error, OSError) and error.errno is None
        ):  # NumPy forgets the number when it cannot write
            raise OSError(errno.ENOSPC, f"no room for all of it ({error})", str(path)) from error
        raise


def append_line(path: Path, line: str) -> None:
    """Append a line, on a line of its own also where a full disk or a kill cut off the one before."""
    with naming(path), open(path, "a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode("utf-8", "backslashreplace") + b"\n")


def sweep(folder: Path) -> None:
    """Delete what writers that were killed left in a folder; a living one holds its file locked."""
    for path in folder.glob(".*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime < LOCK_SECONDS:
                continue  # it may be about to be locked
            if path.is_dir():
                shutil.rmtree(path)
                continue
            with open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink()


def make_folder(path: Path, fix: str | None = None) -> None:
    """Make a folder and those above it. Raises InputError, with what to do, where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"no folder can be made here ({error.strerror})", where=path, fix=fix) from error


def check_writable(path: Path, fix: str | None = None) -> None:
    """Raise InputError, before the work, where no file can be made in a folder, nor the folder itself."""
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise InputError("a file is in the way of the folder", where=there, fix=fix)
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError("nothing can be written here", where=there, fix=fix)


def _umask() -> int:
    """The process's file creation mask; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with atomic_file(path) as file:
        file.write(text)


def write_new(path: Path, text: str) -> bool:
    """Write `text` to `path`, whole, unless there is such a file: of several processes one succeeds.

    Returns whether it was written.
    """
    if path.exists():
        return False
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".partial") as folder:
        whole = Path(folder) / path.name
        write_text(whole, text)
        try:
            os.link(whole, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            os.rename(whole, path)
    return True


def plain_cell(text: str) -> str:
    """A text that a spreadsheet takes for a text: =, +, -, @ in front would make it a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all. NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
