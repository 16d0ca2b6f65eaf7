"""The tasks of this package by their names: those that the folders beside this file define in task.py."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

from deeprob.tasks.base import Task


@functools.cache
def known_tasks() -> dict[str, type[Task]]:
    """Task.name -> its class."""
    found: dict[str, type[Task]] = {}
    for path in sorted(Path(__file__).parent.glob("*/task.py")):
        module = importlib.import_module(f"deeprob.tasks.{path.parent.name}.task")
        found |= {
            kind.name: kind
            for kind in vars(module).values()
            if isinstance(kind, type) and issubclass(kind, Task) and "name" in vars(kind)
        }
    return found
