"""relu(batch_norm(z) + s), one product, sum and comparison an entry, and what relu(batch_norm(z)) sends back.

y = max(0, a z + c + b s)     a = w r, c = b - mu a, one number a channel each: batch_norm.py
"""

import torch
from torch import Tensor

from .._function import is_plain
from ..batch_norm import batch_norm_backward
from ..channels import GRAIN, num_rows, per_channel, planes_or_rows
from ..kernels import blocks as loops
from ..kernels.loops import run
from ..relu import relu_backward


def coefficients(
    scale: Tensor, shift: Tensor, mean: Tensor, var: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Return a and c (C), so that a z + c is the normalised z."""
    a = (var + eps).rsqrt() * scale
    return a, shift - mean * a


def rectified(z: Tensor, a: Tensor, c: Tensor, side: Tensor | None = None, b: Tensor | None = None) -> Tensor:
    """Return max(0, a z + c + b s) of maps z and s (N, C, H, W) and a, b, c (C); b None: 1, side None: 0."""
    if side is None:
        if is_plain(a, c) and (views := planes_or_rows(z, y := torch.empty_like(z))) is not None:
            (source, target), planes = views
            simple = loops.plane_rectified if planes else loops.row_rectified
            run(simple, num_rows(source, planes), source, a, c, target)
            return y
        return (z * per_channel(a, z) + per_channel(c, z)).to(z.dtype).relu()
    if is_plain(a, c, b) and (views := planes_or_rows(z, side, y := torch.empty_like(z))) is not None:
        (source, other, target), planes = views
        loop = loops.plane_rectified_sum if planes else loops.row_rectified_sum
        b = torch.ones_like(a) if b is None else b
        run(loop, num_rows(source, planes), source, a, c, other, b, target)
        return y
    side = side if b is None else side * per_channel(b, z)
    return (z * per_channel(a, z) + per_channel(c, z) + side).to(z.dtype).relu()


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
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dz, dscale and dshift of y = relu(batch_norm(z)); where it can, writes dz over dy."""
    if training and is_plain(scale, shift, mean) and (views := planes_or_rows(dy, z)) is not None:
        (upstream, source), planes = views
        a, c = coefficients(scale, shift, mean, var, eps)
        total, dot = torch.zeros(2, z.shape[1], dtype=torch.float64)
        loop = loops.plane_gated_dots if planes else loops.row_gated_dots
        run(loop, z.shape[1], upstream, source, a, c, mean, total, dot, grain=GRAIN)
        rstd = (var + eps).rsqrt()
        dshift, dscale = total.float(), dot.float() * rstd
        m = z.numel() // z.shape[1]
        b = -a * rstd * dscale / m
        combine = loops.plane_gated_combine if planes else loops.row_gated_combine
        c1 = -a * dshift / m - b * mean
        run(combine, num_rows(source, planes), upstream, source, a, c, b, c1, upstream)
        return dy, dscale, dshift
    return batch_norm_backward(relu_backward(y, dy), z, scale, mean, var, eps, training)
