"""The faster forms of the losses of single numbers, by the loops of losses.py and binary.py.

Each equals the formula of its name in layers/losses/, for the unweighted mean or sum, and returns None where
the loops cannot or need not run.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .._function import is_plain
from . import binary, losses
from .loops import is_dense, run

LOOP_FROM = 1 << 12  # entries from which a loop pays for its call
Loop = Callable[..., None]


def squared_error(x: Tensor, target: Tensor, reduction: str) -> Tensor | None:
    """Return the loss."""
    return over_blocks(losses.squared_errors, x, target, reduction)


def squared_error_backward(
    dy: Tensor, x: Tensor, target: Tensor, reduction: str, need_target: bool
) -> tuple[Tensor, Tensor | None] | None:
    """Return dx and, if needed, dt."""
    return over_entries(losses.squared_error_gradient, dy, x, target, reduction, need_target)


def smooth_error(x: Tensor, target: Tensor, reduction: str, beta: float) -> Tensor | None:
    """Return the loss."""
    return over_blocks(losses.smooth_errors, x, target, reduction, beta) if beta > 0 else None


def smooth_error_backward(
    dy: Tensor, x: Tensor, target: Tensor, reduction: str, beta: float, need_target: bool
) -> tuple[Tensor, Tensor | None] | None:
    """Return dx and, if needed, dt."""
    if beta <= 0:
        return None
    return over_entries(losses.smooth_error_gradient, dy, x, target, reduction, need_target, beta)


def binary_cross_entropy(
    x: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, reduction: str
) -> Tensor | None:
    """Return the loss."""
    if weight is not None or pos_weight is not None:
        return None
    return over_blocks(binary.cross_entropies, x, target, reduction)


def binary_cross_entropy_backward(
    dy: Tensor,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    reduction: str,
    needs: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None] | None:
    """Return dx and, if needed, dt."""
    if weight is not None or pos_weight is not None:
        return None
    return over_entries(binary.cross_entropy_gradient, dy, x, target, reduction, needs[1])


def focal_loss(
    x: Tensor, target: Tensor, weight: Tensor | None, alpha: float | None, gamma: float, reduction: str
) -> Tensor | None:
    """Return the loss."""
    if weight is not None or gamma != 2:
        return None
    return over_blocks(binary.focal_losses, x, target, reduction, *balance(alpha))


def focal_loss_backward(
    dy: Tensor,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    alpha: float | None,
    gamma: float,
    reduction: str,
) -> Tensor | None:
    """Return dx."""
    if weight is not None or gamma != 2:
        return None
    both = over_entries(binary.focal_gradient, dy, x, target, reduction, False, *balance(alpha))
    return None if both is None else both[0]


def balance(alpha: float | None) -> tuple[float, float]:
    """Return a of the positives and of the negatives."""
    return (1.0, 1.0) if alpha is None else (float(alpha), 1.0 - alpha)


def can_loop(x: Tensor, target: Tensor, reduction: str, dy: Tensor | None = None) -> bool:
    """Whether the loss is one number and the CPU's loops can and should run over the entries."""
    return (
        reduction != "none"
        and x.numel() >= LOOP_FROM
        and is_plain(x, target, dy)
        and x.stride() == target.stride()
        and is_dense(x)
    )


def over_blocks(loop: Loop, x: Tensor, target: Tensor, reduction: str, *options: float) -> Tensor | None:
    """Return the mean or the sum of the losses that `loop` sums a block."""
    if not can_loop(x, target, reduction):
        return None
    count = x.numel()
    blocks = losses.count_blocks(count)
    sums = torch.empty(blocks)
    run(loop, blocks, x, target, *options, 1 / count if reduction == "mean" else 1.0, sums, flat=True)
    return sums.sum()


def over_entries(
    loop: Loop,
    dy: Tensor,
    x: Tensor,
    target: Tensor,
    reduction: str,
    need_target: bool,
    *options: float,
) -> tuple[Tensor, Tensor | None] | None:
    """Return dx and, if needed, dt, which `loop` writes in one pass."""
    if not can_loop(x, target, reduction, dy):
        return None
    count, dx = x.numel(), torch.empty_like(x)
    dtarget = torch.empty_like(x) if need_target else None
    share = 1 / count if reduction == "mean" else 1.0
    run(loop, count, x, target, *options, dy, share, dx, dtarget, grain=LOOP_FROM, flat=True)
    return dx, dtarget
