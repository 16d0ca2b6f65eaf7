"""3x3 convolutions with a quarter of the multiplications, on the CPU: Winograd's F(4x4, 3x3).

A convolution multiplies polynomials. A polynomial of degree five is known by its values at six points, so
four outputs of a kernel of three taps, which take twelve products one by one, take six: one a point.

    y = A^T [ (G w) * (B^T x) ]          one dimension: x six inputs, w three taps, y four outputs
    Y = A^T [ (G W G^T) * (B^T X B) ] A  two dimensions: a tile of 6x6 inputs, 36 products, 4x4 outputs

    A[a,k] = a^k                         the value at a point a of what collects the outputs
    G[a,k] = a^k / prod_{b != a} (a - b) that of the kernel; the product is over the other finite points
    B[.,a] = coefficients of prod_{b != a} (x - b); for the point at infinity, of the product over all
    points 0, p, -p, q, -q, infinity, with p = 5/8 and q = 3/2, where float32 loses least: some two bits
    less exact than the plain sum with the outputs, as exact with dW

Over channels the product at each of the 36 pairs of points becomes a matrix product, and the rest is linear:

    M = V U^T           V = B^T X B (36, T, C) of all T tiles, U = G W G^T (36, O, C), M (36, T, O)
    dU = dM^T V         dM = A dY A^T, the adjoint of Y = A^T M A; then dW = G^T dU G
    dX                  is a convolution of dY too: with the kernel turned around, in and out exchanged

Tiles are made and used some hundred at a time, so that V and M stay in the cache.
A number that is not finite reaches all outputs of the tiles that hold it.
Cost: 4.5 T C O products where the plain sum has 9 N H W C O; bytes saved: none.
Source: Lavin and Gray, Fast algorithms for convolutional neural networks, 2016; Toom and Cook for the points.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .._function import is_plain
from .._window import Geometry
from .loops import run
from .winograd_tiles import APART, P, Q, outputs_of_tiles, tiles_of_inputs, tiles_of_outputs


def suits(x: Tensor, shape: Sequence[int], geometry: Geometry) -> bool:
    """Whether convolving a plain array x (or dy) by weights of this shape (O, C, 3, 3) is faster by tiles."""
    return is_plain(x) and _pays(x, shape, CHANNELS, FEWEST, geometry)


def suits_weight(dy: Tensor, x: Tensor, shape: Sequence[int], geometry: Geometry) -> bool:
    """Whether dW is."""
    return is_plain(dy, x) and _pays(x, shape, CHANNELS_WEIGHT, FEWEST_WEIGHT, geometry)


def _pays(x: Tensor, shape: Sequence[int], channels: int, tiles: float, geometry: Geometry) -> bool:
    stride, padding, dilation, groups = geometry
    return (
        tuple(shape[2:]) == (3, 3)
        and (*stride, *dilation, groups) == (1, 1, 1, 1, 1)
        and max(padding) <= 2
        and min(shape[:2]) >= channels
        and len(x) * x.shape[2] * x.shape[3] >= 16 * tiles
    )


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, padding: Any) -> Tensor:
    """Return y (N, O, H', W') of x (N, C, H, W), weight (O, C, 3, 3) and bias (O)."""
    values = lambda start, stop: values_of_weight(weight[start:stop]).transpose(1, 2)  # noqa: E731
    return _convolve(x, len(weight), values, bias, padding)


def input_gradient(dy: Tensor, weight: Tensor, padding: Any) -> Tensor:
    """Return dx (N, C, H, W) of dy (N, O, H', W')."""
    values = lambda start, stop: values_of_weight(weight[:, start:stop], turned=True)  # noqa: E731
    return _convolve(dy, weight.shape[1], values, None, [2 - a for a in padding])


def weight_gradient(dy: Tensor, x: Tensor, padding: Any) -> Tensor:
    """Return dW (O, C, 3, 3) of dy (N, O, H', W') and x (N, C, H, W)."""
    in_channels, out_channels = x.shape[1], dy.shape[1]
    flat, *maps = _memory(x)
    grid, chunk = _share(dy)
    x_tiles = _tiles(x, chunk * grid[1] * in_channels)
    dweight = x.new_empty(3, 3, out_channels, in_channels)
    for block in _blocks(out_channels, in_channels):
        upstream = dy[:, block]
        dy_flat, *dy_maps = _memory(upstream)
        dvalues = x.new_zeros(36, upstream.shape[1], in_channels)
        dy_tiles = _tiles(x, chunk * grid[1] * upstream.shape[1])
        for first in range(0, len(x) * grid[0], chunk):
            count = min(chunk, len(x) * grid[0] - first)
            run(tiles_of_inputs, count, flat, *maps, first, grid, tuple(padding), x_tiles)
            run(tiles_of_outputs, count, dy_flat, *dy_maps, first, grid, dy_tiles)
            dm = _matrices(dy_tiles, count * grid[1], upstream.shape[1])
            dvalues.baddbmm_(dm.transpose(1, 2), _matrices(x_tiles, count * grid[1], in_channels))
        taps = x.new_tensor(kernel_values()).t() @ dvalues.view(36, -1)
        dweight[:, :, block] = taps.view(3, 3, -1, in_channels)
    return dweight.permute(2, 3, 0, 1)


def values_of_weight(weight: Tensor, turned: bool = False) -> Tensor:
    """Return U = G W G^T (36, O, C), of the kernel `turned` around if so."""
    at_points = weight.new_tensor(kernel_values())
    taps = weight.detach().permute(2, 3, 0, 1).reshape(9, -1)
    return ((at_points.flip(1) if turned else at_points) @ taps).view(36, *weight.shape[:2])


@cache
def kernel_values() -> list[list[float]]:
    """Return G x G (36, 9): what each tap of a kernel adds to its value at each pair of points."""
    finite = [0.0, float(P), -float(P), float(Q), -float(Q)]
    rows = [[a**k / math.prod(a - b for b in finite if b != a) for k in range(3)] for a in finite]
    rows.append([0.0, 0.0, 1.0])
    return [[a * b for a in down for b in along] for down in rows for along in rows]


def _convolve(
    x: Tensor, out_channels: int, values: Callable[[int, int], Tensor], bias: Tensor | None, padding: Any
) -> Tensor:
    """Convolve x (N, C, H, W); values(start, stop) gives U^T (36, C, O) of some outputs."""
    flat, *maps = _memory(x)
    size = [n + 2 * a - 2 for n, a in zip(x.shape[2:], padding, strict=True)]
    layout = torch.contiguous_format if maps[1] else torch.channels_last
    y = torch.empty(len(x), out_channels, *size, dtype=x.dtype, memory_format=layout)
    added = x.new_zeros(out_channels) if bias is None else bias.detach()
    (y_flat, *y_maps), (grid, chunk) = _memory(y), _share(y)
    x_tiles = _tiles(x, chunk * grid[1] * x.shape[1])
    for block in _blocks(out_channels, x.shape[1]):
        weights, shift = values(block.start, block.stop), added[block]
        y_tiles = _tiles(x, chunk * grid[1] * len(shift))
        for first in range(0, len(x) * grid[0], chunk):
            count = min(chunk, len(x) * grid[0] - first)
            run(tiles_of_inputs, count, flat, *maps, first, grid, tuple(padding), x_tiles)
            v = _matrices(x_tiles, count * grid[1], x.shape[1])
            torch.bmm(v, weights, out=_matrices(y_tiles, count * grid[1], len(shift)))
            run(outputs_of_tiles, count, y_tiles, shift, y_flat, *y_maps, block.start, first, grid)
    return y


def _blocks(out_channels: int, in_channels: int) -> list[slice]:
    """Divide the output channels so that a block's U stays in the cache."""
    size = -(-out_channels // -(-36 * out_channels * in_channels // VALUES))
    return [slice(s, min(s + size, out_channels)) for s in range(0, out_channels, size)]


def _tiles(x: Tensor, size: int) -> Tensor:
    """Return room for tiles (36, size and a little more)."""
    return x.new_empty(36, size + APART)


def _matrices(tiles: Tensor, num_tiles: int, channels: int) -> Tensor:
    """View tiles (36, T C and more) as matrices (36, T, C)."""
    return tiles[:, : num_tiles * channels].view(36, num_tiles, channels)


def _memory(x: Tensor) -> tuple[Tensor, tuple[int, int, int], bool]:
    """Return x as one row in the order of its memory, its (C, H, W), and whether that order is by planes."""
    planes = x.is_contiguous()
    x = x.detach() if planes else x.detach().contiguous(memory_format=torch.channels_last)
    channels, height, width = x.shape[1:]
    flat = x.view(-1) if planes else x.permute(0, 2, 3, 1).reshape(-1)
    return flat, (channels, height, width), planes


def _share(y: Tensor) -> tuple[tuple[int, int], int]:
    """Return the rows and columns of tiles in a map of outputs, and how many rows to take at a time."""
    rows, columns = (-(-size // 4) for size in y.shape[2:])
    return (rows, columns), max(1, min(TILES // columns, len(y) * rows))


VALUES = 36 * 256 * 256  # numbers of U at a time
TILES = 256  # tiles at a time: matrices tall enough for a fast product, and still in the cache
CHANNELS, FEWEST = 48, 64  # channels and tiles from which it is faster
CHANNELS_WEIGHT, FEWEST_WEIGHT = 32, 16
