"""The faster forms of cross-entropy, by the loops of losses.py, for rows of classes and for planes.

Each equals the formula of its name in layers/losses/cross_entropy.py, and returns None where the loops cannot
or need not run.
"""

import torch
from torch import Tensor

from .._function import is_plain
from . import losses as loops
from .loops import run

LOOP_FROM = 1 << 12  # entries from which a loop pays for its call


def probabilities(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return p (N, C, ...) and log sum_c exp(x_c) (N, ...)."""
    if torch.compiler.is_compiling():  # one pass for the sum; p is made where it is read
        log_sum = x.logsumexp(1)
        return (x - log_sum[:, None]).exp(), log_sum
    if (shape := loop_shape(x)) is None:
        return None
    p, log_sum = torch.empty_like(x), x.new_empty(x.shape[0], *x.shape[2:])
    source, target = as_loop(x, shape), as_loop(p, shape)
    if shape == "rows":
        run(loops.probability_rows, len(source), source, target, log_sum.view(-1))
    else:
        run(loops.probability_planes, loops.count_chunks(source), source, target, log_sum.flatten(1))
    return p, log_sum


def loss_gradient(
    dloss: Tensor, target: Tensor, weight: Tensor | None, p: Tensor, smoothing: float
) -> Tensor | None:
    """Return dloss (Q p - q), dloss (N, 1, ...), without label smoothing."""
    if smoothing != 0 or not is_plain(dloss) or (shape := loop_shape(p)) is None:
        return None
    scale = (dloss if weight is None else dloss * weight[target][:, None]).contiguous()
    dx = torch.empty_like(p)
    source, out = as_loop(p, shape), as_loop(dx, shape)
    if shape == "rows":
        arrays = (source, target.reshape(-1), scale.view(-1), out)
        run(loops.cross_entropy_rows_gradient, len(source), *arrays)
    else:
        arrays = (source, target.flatten(1), scale.flatten(1), out)
        run(loops.cross_entropy_planes_gradient, source.shape[0] * source.shape[1], *arrays)
    return dx


def soft_losses(
    x: Tensor, s: Tensor, weight: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor] | None:
    """Return the losses for probabilities s, and log sum_c exp(x_c), both (N, ...)."""
    if not soft_loop(x, s, weight):
        return None
    loss = x.new_empty(x.shape[0], *x.shape[2:])
    log_sum = torch.empty_like(loss)
    rows = (as_loop(x, "rows"), as_loop(s, "rows"))
    run(loops.soft_rows, loss.numel(), *rows, weight, smoothing, loss.view(-1), log_sum.view(-1))
    return loss, log_sum


def soft_gradients(
    dloss: Tensor,
    x: Tensor,
    s: Tensor,
    weight: Tensor | None,
    smoothing: float,
    log_sum: Tensor,
    needs: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None] | None:
    """Return dx and ds, where needed, of dloss (N, ...)."""
    if not soft_loop(x, s, weight, dloss, log_sum):
        return None
    dx, ds = (torch.empty_like(x) if need else None for need in needs)
    rows = (None if t is None else as_loop(t, "rows") for t in (x, s, dx, ds))
    per_row = (log_sum.view(-1), dloss.reshape(-1))
    run(loops.soft_rows_gradient, log_sum.numel(), *rows, weight, smoothing, *per_row)
    return dx, ds


def soft_loop(x: Tensor, s: Tensor, weight: Tensor | None, *others: Tensor) -> bool:
    """Whether x and s lie in rows of classes, and the CPU's loops should run over them."""
    return loop_shape(x) == "rows" and s.stride() == x.stride() and is_plain(s, weight, *others)


def loop_shape(x: Tensor) -> str | None:
    """Say whether x (N, C, ...) lies in "rows" of classes or in "planes", if the CPU's loops should run."""
    if x.numel() < LOOP_FROM or not is_plain(x):
        return None
    if x.movedim(1, -1).is_contiguous():
        return "rows"
    return "planes" if x.is_contiguous() else None


def as_loop(x: Tensor, shape: str) -> Tensor:
    """View x (N, C, ...) as rows (R, C) or planes (N, C, M)."""
    return x.movedim(1, -1).flatten(0, -2) if shape == "rows" else x.flatten(2)
