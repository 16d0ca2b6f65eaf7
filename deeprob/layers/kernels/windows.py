"""dW of a convolution on the CPU as a product of its windows and dy; conv.py holds the formula it equals.

    dW[(c, i, j), o] = sum over positions p of X[(c, i, j), p] dy[p, o]      X: what tap (i, j) of c reads

Some hundred rows of X and some hundred positions are written out at a time, and multiplied away while they
are in the cache (product.py). A map is laid out with its zeros around and split into phases of the
stride: then what a tap reads along a line of outputs lies side by side, and is copied as one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from .loops import run
from .product import multiply, pack, transpose
from .tile import LANES, PANEL, SIZE, copy_lines

POSITIONS = 256  # at a time: whole lines of outputs, of several samples where one has fewer
ROWS_OF_WINDOWS = 96  # at a time


def weight_gradient_by_windows(
    dy: Tensor, x: Tensor, shape: Sequence[int], stride: Any, padding: Any, dilation: Any
) -> Tensor:
    """Return dW (O, C, KH, KW) of dy (N, O, H', W') and x (N, C, H, W)."""
    num_outputs, channels, height, width = shape
    if x.stride(3) != 1 and x.stride(1) != 1:
        x = x.contiguous()
    if not dy.is_contiguous():
        dy = dy.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    positions = dy.flatten(2) if dy.is_contiguous() else dy.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)
    dw = x.new_zeros(channels * height * width, -(-num_outputs // PANEL) * PANEL)
    geometry = (tuple(v) for v in (shape[2:], stride, padding, dilation))
    run(window_products, channels * height, positions, x, dy.shape[3], *geometry, dw)
    return dw[:, :num_outputs].t().view(tuple(shape))


def window_products(
    start: int,
    stop: int,
    dy: Any,
    x: Any,
    width: int,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    dw: Any,
) -> None:
    """Add to dw (C KH KW, O) what taps of channel and line c KH + i get of dy (N, O, lines of `width`)."""
    num_samples, _, area = dy.shape
    height = area // width
    first, channels = start // kernel[0], (stop - 1) // kernel[0] + 1 - start // kernel[0]
    lines = (
        (x.shape[2] + 2 * padding[0] - 1) // stride[0] + 1,
        (x.shape[3] + 2 * padding[1] - 1) // stride[1] + 1,
    )
    group = min(num_samples, max(1, POSITIONS // area))
    step = height if group > 1 else max(1, min(height, POSITIONS // width))
    units = max(1, ROWS_OF_WINDOWS // kernel[1])
    most = group * step * width
    maps = np.empty((channels, x.shape[2], x.shape[3]), np.float32)
    phases = np.zeros((group, channels * stride[0] * stride[1] * lines[0] * lines[1] + LANES), np.float32)
    windows = np.empty((units * kernel[1], ((most + LANES) // PANEL | 1) * PANEL + PANEL), np.float32)
    panels = np.empty(most * dw.shape[1], np.float32)
    for n in range(0, num_samples, group):
        some = min(group, num_samples - n)
        for m in range(some):
            lay_out(x[n + m, first : first + channels], stride, padding, lines, maps, phases[m])
        for top in range(0, height, step):
            length = min(step, height - top) * width
            for m in range(some):
                pack(dy[n + m, :, top * width : top * width + length].T, panels, some * length, m * length)
            for unit in range(start, stop, units):
                here = unit - first * kernel[0], min(unit + units, stop) - first * kernel[0]
                count = write_windows(
                    here, top, width, length, kernel, stride, dilation, lines, phases[:some], windows
                )
                part = dw[unit * kernel[1] : unit * kernel[1] + count]
                multiply(windows[:count, : some * length], panels, some * length, part, True)


def write_windows(
    units: Any,
    top: int,
    width: int,
    length: int,
    kernel: Any,
    stride: Any,
    dilation: Any,
    lines: Any,
    phases: Any,
    windows: Any,
) -> int:
    """Write what each tap of the units reads at `length` positions from line `top` on; return how many taps.

    A unit is a channel and a line of the kernel, c KH + i. The samples' positions follow one another.
    """
    size = stride[0] * stride[1] * lines[0] * lines[1]
    count = 0
    for unit in range(units[0], units[1]):
        down, phase = divmod(unit % kernel[0] * dilation[0], stride[0])
        for j in range(kernel[1]):
            along, side = divmod(j * dilation[1], stride[1])
            line = (phase * stride[1] + side) * lines[0] + down + top
            source = phases.ctypes.data + (unit // kernel[0] * size + line * lines[1] + along) * SIZE
            target = windows.ctypes.data + count * windows.strides[0]
            for _ in range(phases.shape[0]):
                copy_lines(source, lines[1] * SIZE, target, width * SIZE, length // width, width)
                source += phases.strides[0]
                target += length * SIZE
            count += 1
    return count


def lay_out(x: Any, stride: Any, padding: Any, lines: Any, maps: Any, phases: Any) -> None:
    """Lay out the maps x (C, H, W), planes or pixels, as rows one after another."""
    size = stride[0] * stride[1] * lines[0] * lines[1]
    if x.strides[2] == SIZE:
        for c in range(x.shape[0]):
            split_map(x[c], stride, padding, lines, phases[c * size :])
        return
    for h in range(x.shape[1]):
        transpose(x[:, h].T, maps[:, h])
    for c in range(x.shape[0]):
        split_map(maps[c], stride, padding, lines, phases[c * size :])


def split_map(x: Any, stride: Any, padding: Any, lines: Any, source: Any) -> None:
    """Lay out a map (H, W) as one row: its phases one after another, each `lines` high and wide."""
    height, width = x.shape
    size = lines[0] * lines[1]
    for vertical in range(stride[0]):
        for down in range(lines[0]):
            h = down * stride[0] + vertical - padding[0]
            if h < 0 or h >= height:
                continue
            row, target = x[h], source[vertical * stride[1] * size + down * lines[1] :]
            if stride[1] == 2:  # both phases at once: neighbours are loaded as one vector
                even = target[padding[1] % 2 * size + padding[1] // 2 :]
                odd = target[(padding[1] + 1) % 2 * size + (padding[1] + 1) // 2 :]
                for w in range(width // 2):
                    even[w] = row[2 * w]
                    odd[w] = row[2 * w + 1]
                if width % 2:
                    even[width // 2] = row[width - 1]
                continue
            for first in range(stride[1]):
                side = (first + padding[1]) % stride[1]
                line = target[side * size + (first + padding[1]) // stride[1] :]
                for w in range((width - first + stride[1] - 1) // stride[1]):
                    line[w] = row[first + w * stride[1]]
