"""Memory that a step frees stays with the process, for the next step to use."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST = 32 << 20  # the most bytes that glibc lets a mapping's threshold be


def keep_freed_memory() -> bool:
    """Tell the C library not to give freed memory back to the system; whether it is one that listens.

    A step frees hundreds of arrays and asks for as many again. glibc hands large ones back, and the kernel
    then clears every page once more: some 3 us for 4 KB, up to a tenth of a step on the CPU. The process
    keeps what its largest step took, until it ends or calls `give_back_freed_memory`. Other C libraries than
    glibc stay as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, -1))


def give_back_freed_memory() -> bool:
    """Give the system what was freed; whether the C library could."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError):
        return False
