"""The file of a study, optuna's journal: mended after a kill, and checked line by line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from deeprob.errors import InputError


def backend(journal: Path) -> Any:
    """Optuna's storage in this file, one process at a time."""
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    return JournalFileBackend(str(journal), lock_obj=JournalFileOpenLock(str(journal)))


def mend(journal: Path) -> None:
    """Cut off a last line that a full disk or a kill left without its end; optuna would stumble over it."""
    from optuna.storages.journal import JournalFileOpenLock

    if not journal.is_file():
        return
    lock = JournalFileOpenLock(str(journal))
    lock.acquire()
    try:
        content = journal.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(journal, content.rfind(b"\n") + 1)
    finally:
        lock.release()
    check(journal)


def check(journal: Path) -> None:
    """Raise InputError where a whole line is none of optuna's: the numbers of all later trials hang on it."""
    lines = journal.read_bytes().split(b"\n")[:-1]  # the last is being written
    for number, line in enumerate(lines, start=1):
        try:
            whole = "op_code" in json.loads(line)
        except (ValueError, TypeError):
            whole = False
        if not whole:
            raise InputError(
                f"line {number} is {'damaged' if line.strip() else 'blank'}",
                where=journal,
                expected="one JSON object a line, as optuna writes them",
                fix="take out a blank line; else begin anew with sweep.name=...",
            )
