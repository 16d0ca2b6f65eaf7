"""The faster forms of relu(batch_norm(z) + s) and its gradient, by the loops of blocks.py.

Each equals the formula of its name in layers/fused/_rectified_norm.py, and returns None where the loops
cannot or need not run.
"""

import torch
from torch import Tensor

from .._function import is_plain
from . import blocks as loops
from .channels import GRAIN, num_rows, planes_or_rows
from .loops import run


def rectified(
    z: Tensor, a: Tensor, c: Tensor, side: Tensor | None = None, b: Tensor | None = None
) -> Tensor | None:
    """Return max(0, a z + c + b s)."""
    if not is_plain(a, c, b):
        return None
    if side is None:
        if (views := planes_or_rows(z, y := torch.empty_like(z))) is None:
            return None
        (source, target), planes = views
        simple = loops.plane_rectified if planes else loops.row_rectified
        run(simple, num_rows(source, planes), source, a, c, target)
        return y
    if (views := planes_or_rows(z, side, y := torch.empty_like(z))) is None:
        return None
    (source, other, target), planes = views
    loop = loops.plane_rectified_sum if planes else loops.row_rectified_sum
    b = torch.ones_like(a) if b is None else b
    run(loop, num_rows(source, planes), source, a, c, other, b, target)
    return y


def rectified_backward(
    dy: Tensor,
    y: Tensor,
    z: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: float,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return dz, written over dy, dscale and dshift."""
    if not training or not is_plain(scale, shift, mean) or (views := planes_or_rows(dy, z)) is None:
        return None
    (upstream, source), planes = views
    rstd = (var + eps).rsqrt()
    a = rstd * scale
    total, dot = torch.zeros(2, z.shape[1], dtype=torch.float64)
    loop = loops.plane_gated_dots if planes else loops.row_gated_dots
    arrays = (upstream, source, a, shift - mean * a, mean, total, dot)
    run(loop, z.shape[1], *arrays, grain=GRAIN)
    dshift, dscale = total.float(), dot.float() * rstd
    m = z.numel() // z.shape[1]
    b = -a * rstd * dscale / m
    combine = loops.plane_gated_combine if planes else loops.row_gated_combine
    c = -a * dshift / m - b * mean
    run(combine, num_rows(source, planes), upstream, source, a, shift - mean * a, b, c, upstream)
    return dy, dscale, dshift
