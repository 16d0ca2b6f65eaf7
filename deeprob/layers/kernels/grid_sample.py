"""The faster forms of sampling along a grid, by the loops of grid.py, of plain arrays."""

from typing import NamedTuple

from torch import Tensor

from .._function import is_plain
from .grid import sample, sample_adjoint
from .opaque import Operation, Result


class Options(NamedTuple):
    """How positions are read."""

    nearest: bool
    border: bool
    align_corners: bool


def sampled(x: Tensor, grid: Tensor, options: Options) -> Tensor | None:
    """Return x (N, C, H, W) at grid (N, P, 2): (N, C, P)."""
    return sample(x, grid, options) if is_plain(x, grid) else None


def sampled_backward(dy: Tensor, x: Tensor, grid: Tensor, options: Options) -> tuple[Tensor, Tensor] | None:
    """Return dx and dgrid."""
    return sample_adjoint(dy, x, grid, options) if is_plain(dy, x, grid) else None


SAMPLED = Operation("grid_sample", lambda x, grid, _: [Result([*x.shape[:2], grid.shape[1]], x)])
SAMPLED_BACKWARD = Operation(
    "grid_sample_backward", lambda dy, x, grid, _: [Result(x.shape, x), Result(grid.shape)]
)
