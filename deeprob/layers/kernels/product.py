"""Products of small float32 matrices within a loop, by the tiles of tile.py.

B (K, N) is copied into panels as wide as a tile, so that a tile reads it from one end to the other. A is read
where it lies. A library's product of such a size takes as long to prepare as to sum.
Source: Goto and van de Geijn, Anatomy of high-performance matrix multiplication (2008), section 4.
"""

from typing import Any

from .loops import ZERO
from .tile import LANES, PANEL, ROWS, SIZE, copy_lines, tile, turn

DEPTH = 256  # lines of a panel at a time: they stay in the first-level cache from tile to tile


def pack(b: Any, panels: Any, depth: int, at: int) -> None:
    """Write B (K, N) to the lines from `at` on of panels (depth, PANEL), the last filled up with zeros.

    The rows of B are numbers side by side, or its columns are.
    """
    rows, columns = b.shape
    for j in range(0, columns, PANEL):
        width = min(PANEL, columns - j)
        panel = panels[j * depth : (j + PANEL) * depth].reshape(depth, PANEL)[at:]
        part = b[:, j : j + width]
        if part.strides[0] == SIZE:
            transpose(part.T, panel)
        elif width == PANEL and rows > 0:
            copy_lines(part.ctypes.data, part.strides[0], panel.ctypes.data, PANEL * SIZE, rows, PANEL)
        else:
            for k in range(rows):
                for i in range(width):
                    panel[k, i] = part[k, i]
        for k in range(rows):
            for i in range(width, PANEL):
                panel[k, i] = ZERO


def transpose(a: Any, target: Any) -> None:
    """Write A^T (N, M) of A (M, N); the rows of both are numbers side by side."""
    rows, columns = a.shape
    high, wide = rows - rows % LANES, columns - columns % LANES
    for i in range(0, high, LANES):
        for k in range(0, wide, LANES):
            source = a.ctypes.data + i * a.strides[0] + k * SIZE
            turn(
                source, a.strides[0], target.ctypes.data + k * target.strides[0] + i * SIZE, target.strides[0]
            )
    for i in range(rows):
        for k in range(wide if i < high else 0, columns):
            target[k, i] = a[i, k]


def multiply(a: Any, panels: Any, depth: int, c: Any, add: bool) -> None:
    """C (M, N) = A (M, K) B, plus C if add; B (depth, N) in panels, of which the first K >= 1 rows are read.

    Every row of C has room for whole panels: what is beyond N is written, too.
    """
    num_rows, num_steps = a.shape
    step = -(-num_steps // -(-num_steps // DEPTH))  # parts of one size
    for k in range(0, num_steps, step):
        size = min(step, num_steps - k)
        for j in range(0, c.shape[1], PANEL):
            panel = panels.ctypes.data + (j * depth + k * PANEL) * SIZE
            for i in range(0, num_rows, ROWS):
                here = a.ctypes.data + i * a.strides[0] + k * a.strides[1]
                there = c.ctypes.data + i * c.strides[0] + j * SIZE
                first = 1 if add or k > 0 else 0
                count = min(ROWS, num_rows - i)
                tile(here, a.strides[0], a.strides[1], panel, first, there, c.strides[0], size, count)
