"""The faster forms of softmax's gradients, by the loops of rows.py, or None."""

import torch
from torch import Tensor

from .._function import is_plain
from . import rows as loops
from .loops import run

LOOP_FROM = 1 << 12  # entries from which a loop pays for its call
GRAIN = 16  # rows a thread


def through_softmax(y: Tensor, dy: Tensor, dim: int) -> Tensor | None:
    """Return y (dy - sum_j y_j dy_j)."""
    if not can_loop(y, dy, dim):
        return None
    dx = torch.empty_like(y)
    run(loops.softmax_gradient, y.numel() // y.shape[-1], *rows(y, dy, dx), grain=GRAIN)
    return dx


def through_log_softmax(y: Tensor, dy: Tensor, dim: int) -> Tensor | None:
    """Return dy - exp(y) sum_j dy_j."""
    if not can_loop(y, dy, dim):
        return None
    dx = torch.empty_like(y)
    run(loops.log_softmax_gradient, y.numel() // y.shape[-1], *rows(y, dy, dx), grain=GRAIN)
    return dx


def can_loop(y: Tensor, dy: Tensor, dim: int) -> bool:
    """Whether the axis is innermost and the CPU's loops can and should run along it."""
    return (
        y.numel() >= LOOP_FROM
        and dim in (-1, y.dim() - 1)
        and is_plain(y, dy)
        and y.is_contiguous()
        and dy.is_contiguous()
    )


def rows(*tensors: Tensor) -> list[Tensor]:
    """View each as rows along its last axis."""
    return [t.view(-1, t.shape[-1]) for t in tensors]
