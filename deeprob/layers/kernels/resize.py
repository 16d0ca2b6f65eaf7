"""The faster forms of resizing and of region pooling, by the loops of sampling.py, of plain arrays."""

from torch import Tensor

from .._function import is_plain
from .opaque import Operation, Result
from .sampling import pool_winners, resize, resize_adjoint


def resized(x: Tensor, rows: Tensor, f: Tensor, columns: Tensor, g: Tensor) -> Tensor | None:
    """Return A X B^T, by the two entries that A and B have a row."""
    return resize(x, rows, f, columns, g) if is_plain(x) else None


def resized_backward(
    dy: Tensor, rows: Tensor, f: Tensor, columns: Tensor, g: Tensor, height: int, width: int
) -> Tensor | None:
    """Return A^T dY B."""
    return resize_adjoint(dy, rows, f, columns, g, height, width) if is_plain(dy) else None


def find_winners(
    x: Tensor, sample: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]
) -> Tensor | None:
    """Return the largest pixel of each bin."""
    return pool_winners(x, sample, rows, columns) if is_plain(x) else None


RESIZED = Operation(
    "resize", lambda x, rows, f, columns, g: [Result([*x.shape[:2], len(rows), len(columns)], x)]
)
RESIZED_BACKWARD = Operation(
    "resize_adjoint",
    lambda dy, rows, f, columns, g, height, width: [Result([*dy.shape[:2], height, width], dy)],
)
