"""The largest memory that a training held: of each run its own, where several run in one process."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

import torch

from deeprob.training.allocator import give_back_freed_memory

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak() -> None:
    """Let the peak start anew from what is held now. Where the system does not let one, it goes on."""
    give_back_freed_memory()  # what an earlier run held is not this one's
    with contextlib.suppress(OSError):
        FORGET.write_text("5")  # Linux: resets VmHWM (proc(5))
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> int:
    """Bytes: the GPU's allocator peak where one was used, else the process's largest resident size."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
        if found is not None:
            return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
