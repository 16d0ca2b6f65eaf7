"""Products of small float32 matrices within a loop, by the tiles of kernels_tile.py.

B (K, N) is copied into panels as wide as a tile, so that a tile reads it from one end to the other. A is read
where it lies. A library's product of such a size takes as long to prepare as to sum.
Source: Goto and van de Geijn, Anatomy of high-performance matrix multiplication (2008), section 4.
"""

from typing import Any

from .kernels import ZERO
from .kernels_tile import LANES, PANEL, ROWS, SIZE, copy_lines, tile, turn

DEPTH = 256  # lines of a panel at a time: they stay in the first-level cache from tile to tile


def pack(b: Any, panels: Any) -> None:
    """Write B (K, N) as panels (K, PANEL), one after another, the last filled up with zeros.

    Fast where the rows of B, or its columns, are numbers side by side.
    """
    depth, columns = b.shape
    for j in range(0, columns, PANEL):
        width = min(PANEL, columns - j)
        panel = panels[j * depth : (j + PANEL) * depth].reshape(depth, PANEL)
        here, there, line = b.ctypes.data + j * b.strides[1], panel.ctypes.data, PANEL * SIZE
        if b.strides[1] == SIZE and width == PANEL and depth > 0:
            copy_lines(here, b.strides[0], there, depth)
            continue
        whole = wide = 0
        if b.strides[0] == SIZE:
            whole, wide = depth - depth % LANES, width - width % LANES
            for i in range(0, wide, LANES):
                for k in range(0, whole, LANES):
                    turn(here + i * b.strides[1] + k * SIZE, b.strides[1], there + k * line + i * SIZE, line)
        for k in range(depth):
            for i in range(wide if k < whole else 0, PANEL):
                panel[k, i] = b[k, j + i] if i < width else ZERO


def multiply(a: Any, panels: Any, depth: int, c: Any, add: bool) -> None:
    """C (M, N) = A (M, K) B, plus C if add; B (depth, N) in panels, of which the first K >= 1 rows are read.

    Every row of C has room for whole panels: what is beyond N is written, too.
    """
    num_rows, num_steps = a.shape
    for k in range(0, num_steps, DEPTH):
        size = min(DEPTH, num_steps - k)
        for j in range(0, c.shape[1], PANEL):
            panel = panels.ctypes.data + (j * depth + k * PANEL) * SIZE
            for i in range(0, num_rows, ROWS):
                here = a.ctypes.data + i * a.strides[0] + k * a.strides[1]
                there = c.ctypes.data + i * c.strides[0] + j * SIZE
                first = 1 if add or k > 0 else 0
                count = min(ROWS, num_rows - i)
                tile(here, a.strides[0], a.strides[1], panel, first, there, c.strides[0], size, count)
