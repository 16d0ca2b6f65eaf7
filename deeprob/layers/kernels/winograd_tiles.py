"""Loops of Winograd's convolution for the CPU; winograd.py holds the equations and calls them.

Three loops go from maps to tiles and back, a row of tiles after the other: each applies one of three
transforms of lines down the map, then along it. Both memory layouts of a map become lines of w C + c first.
"""

from typing import Any

import numpy as np

from .loops import ZERO

P, Q = np.float32(5 / 8), np.float32(3 / 2)
PP, QQ = P * P, Q * Q
SUM, PRODUCT = PP + QQ, PP * QQ  # (x^2 - p^2)(x^2 - q^2) = x^4 - SUM x^2 + PRODUCT
APART = 16  # numbers between lines that are used together: a power of two would put them on one cache line


def values_of_inputs(x: Any, step: int, v: Any, at: int, size: int) -> None:
    """Set v = B^T x: lines of this size, x's a step apart in one row, v's at `at` in six rows."""
    x0, x1, x2, x3, x4, x5 = x, x[step:], x[2 * step :], x[3 * step :], x[4 * step :], x[5 * step :]
    v0, v1, v2, v3, v4, v5 = v[0, at:], v[1, at:], v[2, at:], v[3, at:], v[4, at:], v[5, at:]
    for i in range(size):
        a1, a2, a3, a4 = x1[i], x2[i], x3[i], x4[i]
        even, odd = a4 - QQ * a2, P * (a3 - QQ * a1)
        v1[i], v2[i] = even + odd, even - odd
        even, odd = a4 - PP * a2, Q * (a3 - PP * a1)
        v3[i], v4[i] = even + odd, even - odd
        v0[i] = a4 - SUM * a2 + PRODUCT * x0[i]
        v5[i] = x5[i] - SUM * a3 + PRODUCT * a1


def outputs_of_values(m: Any, at: int, size: int, y: Any, step: int) -> None:
    """Set y = A^T m."""
    m0, m1, m2, m3, m4, m5 = m[0, at:], m[1, at:], m[2, at:], m[3, at:], m[4, at:], m[5, at:]
    y0, y1, y2, y3 = y, y[step:], y[2 * step :], y[3 * step :]
    for i in range(size):
        even_p, odd_p = m1[i] + m2[i], P * (m1[i] - m2[i])
        even_q, odd_q = m3[i] + m4[i], Q * (m3[i] - m4[i])
        y0[i] = m0[i] + even_p + even_q
        y1[i] = odd_p + odd_q
        y2[i] = PP * even_p + QQ * even_q
        y3[i] = PP * odd_p + QQ * odd_q + m5[i]


def values_of_outputs(y: Any, step: int, m: Any, at: int, size: int) -> None:
    """Set m = A y, the adjoint."""
    y0, y1, y2, y3 = y, y[step:], y[2 * step :], y[3 * step :]
    m0, m1, m2, m3, m4, m5 = m[0, at:], m[1, at:], m[2, at:], m[3, at:], m[4, at:], m[5, at:]
    for i in range(size):
        a0, a1, a2, a3 = y0[i], y1[i], y2[i], y3[i]
        even, odd = a0 + PP * a2, P * (a1 + PP * a3)
        m1[i], m2[i] = even + odd, even - odd
        even, odd = a0 + QQ * a2, Q * (a1 + QQ * a3)
        m3[i], m4[i] = even + odd, even - odd
        m0[i], m5[i] = a0, a3


def read_lines(x: Any, n: int, first: int, shape: Any, planes: bool, begin: int, lines: Any) -> None:
    """Set lines[i, begin + w C + c] = x[n, c, first + i, w]; zeros where the map has no such row."""
    channels, height, width = shape
    low, high = max(0, -first), min(len(lines), height - first)
    for i in range(len(lines)):
        if i < low or i >= high:
            lines[i, begin:][: width * channels] = ZERO
    if planes:
        for c in range(channels):
            plane = x[((n * channels + c) * height + first + low) * width :]
            for i in range(high - low):
                row, spread = plane[i * width :][:width], lines[low + i, begin + c :]
                for w in range(row.size):
                    spread[w * channels] = row[w]
    else:
        for i in range(low, high):
            line = lines[i, begin:][: width * channels]
            row = x[(n * height + first + i) * width * channels :][: line.size]
            for k in range(line.size):
                line[k] = row[k]


def write_lines(
    y: Any, n: int, first: int, shape: Any, planes: bool, channel: int, bias: Any, lines: Any
) -> None:
    """Set y[n, channel + c, first + i, w] = lines[i, w O + c] + bias[c], as far as the map has such rows."""
    channels, height, width = shape
    high, size = min(len(lines), height - first), len(bias)
    if planes:
        for c in range(size):
            plane, add = y[((n * channels + channel + c) * height + first) * width :], bias[c]
            for i in range(high):
                row, spread = plane[i * width :][:width], lines[i, c:]
                for w in range(row.size):
                    row[w] = spread[w * size] + add
    else:
        for i in range(high):
            for w in range(width):
                line = lines[i, w * size :][:size]
                row = y[((n * height + first + i) * width + w) * channels + channel :][:size]
                for c in range(row.size):
                    row[c] = line[c] + bias[c]


def tiles_of_inputs(
    start: int, stop: int, x: Any, shape: Any, planes: bool, first: int, grid: Any, padding: Any, tiles: Any
) -> None:
    """Set V = B^T X B for rows of tiles, counted from `first` through all maps.

    x: all maps, flat; shape (C, H, W); grid: rows and columns of tiles in a map; tiles (36, T C and more).
    """
    rows, columns = grid
    size = shape[0]
    x_lines = np.zeros((6, (4 * columns + 2) * size + APART), np.float32)
    v_lines = np.empty_like(x_lines)
    for k in range(start, stop):
        n, row = divmod(first + k, rows)
        read_lines(x, n, 4 * row - padding[0], shape, planes, padding[1] * size, x_lines)
        length = x_lines.shape[1]
        values_of_inputs(x_lines.reshape(-1), length, v_lines, 0, length)
        for i in range(6):
            for j in range(columns):
                line, at = v_lines[i, 4 * j * size :], (k * columns + j) * size
                values_of_inputs(line, size, tiles[6 * i : 6 * i + 6], at, size)


def tiles_of_outputs(
    start: int, stop: int, dy: Any, shape: Any, planes: bool, first: int, grid: Any, tiles: Any
) -> None:
    """Set dM = A dY A^T for rows of tiles; dy: all maps, flat, of shape (O, H, W)."""
    rows, columns = grid
    size = shape[0]
    y_lines = np.zeros((4, 4 * columns * size + APART), np.float32)
    length = y_lines.shape[1]
    m_lines = np.empty((6, length), np.float32)
    for k in range(start, stop):
        n, row = divmod(first + k, rows)
        read_lines(dy, n, 4 * row, shape, planes, 0, y_lines)
        values_of_outputs(y_lines.reshape(-1), length, m_lines, 0, length)
        for i in range(6):
            for j in range(columns):
                line, at = m_lines[i, 4 * j * size :], (k * columns + j) * size
                values_of_outputs(line, size, tiles[6 * i : 6 * i + 6], at, size)


def outputs_of_tiles(
    start: int,
    stop: int,
    tiles: Any,
    bias: Any,
    y: Any,
    shape: Any,
    planes: bool,
    channel: int,
    first: int,
    grid: Any,
) -> None:
    """Set Y = A^T M A + b for rows of tiles, from this channel of y on; y: all maps, flat."""
    rows, columns = grid
    size = len(bias)
    y_lines = np.empty((4, 4 * columns * size + APART), np.float32)
    length = y_lines.shape[1]
    m_lines = np.zeros((6, length), np.float32)
    for k in range(start, stop):
        n, row = divmod(first + k, rows)
        for i in range(6):
            for j in range(columns):
                at = (k * columns + j) * size
                outputs_of_values(tiles[6 * i : 6 * i + 6], at, size, m_lines[i, 4 * j * size :], size)
        outputs_of_values(m_lines, 0, length, y_lines.reshape(-1), length)
        write_lines(y, n, 4 * row, shape, planes, channel, bias, y_lines)
