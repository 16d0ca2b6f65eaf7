"""The machine code of numba's loops, kept on disk by the text that it was compiled from.

numba keeps it beside a loop's own file, and looks at that file alone: every checkout and environment compiles
anew, a change in another file whose functions are compiled into the loop goes unseen, and two processes that
compile at once can mix up what they write. Here it lies in the user's cache folder, a file for each loop and
types of arguments, named by everything that it depends on.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

UNUSED = 60 * 24 * 3600  # seconds after which a file that nobody has loaded goes


def keep(compiled: Any, sources: Iterable[Path]) -> None:
    """Keep the machine code of `compiled`, of numba's njit(..., cache=True), in the user's cache folder.

    sources: the files that it is compiled from. Without a home nothing changes.
    """
    import numba

    if numba.config.DISABLE_JIT:
        return
    given = numba.config.CACHE_DIR or os.environ.get("DEEPROB_CACHE", "~/.cache/deeprob")
    try:
        folder = Path(given).expanduser() / "machine_code"
    except RuntimeError:
        return
    # The module's name too: machine code names the module that it is of, and files are moved.
    text = hashlib.sha256(f"{numba.__version__} {compiled.py_func.__module__}".encode())
    for path in sorted(sources):
        text.update(path.name.encode() + path.read_bytes())
    compiled._cache._cache_file = _Files(folder, compiled.py_func.__qualname__, text.hexdigest())


class _Files:
    """What numba's cache loads from and saves to: in the place of its index and numbered files."""

    def __init__(self, folder: Path, name: str, text: str) -> None:
        self.folder, self.name, self.text = folder, name.rpartition(".")[2], text

    def load(self, key: object) -> Any:
        """The machine code for a key of numba's: types, processor and byte code; None where there is none."""
        path = self._path(key)
        try:
            code = pickle.loads(path.read_bytes())
            os.utime(path)
        except (OSError, EOFError, pickle.UnpicklingError, ImportError, AttributeError):
            return None
        return code

    def save(self, key: object, code: Any) -> None:
        """Keep the machine code for a key. Where there is no room, it is compiled again next time."""
        from numba.core.serialize import dumps

        path = self._path(key)
        part = path.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(dumps(code))
            part.replace(path)
            for other in self.folder.iterdir():
                if time.time() - other.stat().st_mtime > UNUSED:
                    other.unlink()

    def flush(self) -> None:
        """Forget nothing: a file is right as long as its name is."""

    def _path(self, key: object) -> Path:
        known = hashlib.sha256(f"{self.text} {key!r}".encode()).hexdigest()
        return self.folder / f"{self.name}-{known[:32]}.nbc"
