"""Soft-argmax of heatmaps: where the most likely place lies, in pixels, with a gradient.

    x (N, C, H, W) scores     p = softmax(beta x) over the H W cells of a map     g_k = (u, v) of cell k

    y = sum_k p_k g_k                              (N, C, 2), u in 0..W-1, v in 0..H-1
    dx_k = beta p_k (dy . (g_k - y))

The gradient pulls up the cells on that side of y to which it should move. The larger beta, the nearer y is to
the largest score's own cell.
Cost: an exponential a cell each way; saves x and y, so a map is stored once.
Source: Levine et al. 2016, End-to-end training of deep visuomotor policies, section 5.1 (spatial softmax);
Luvizon et al. 2018, 2D/3D pose estimation and action recognition, equation 1.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._function import Function, expect, expect_alike


class SoftArgmaxFunction(Function):
    """y above, of maps (N, C, H, W)."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, beta: float) -> Tensor:
        return (beta * x).flatten(2).softmax(-1) @ cells(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.beta = inputs
        ctx.save_for_backward(x, output)
        ctx.save_for_forward(x, output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, y = ctx.saved_tensors
        along = dy @ cells(x).mT - (dy * y).sum(-1, keepdim=True)
        return (ctx.beta * shares(x, ctx.beta) * along).view_as(x), None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, _: Any) -> Any:
        x, y = ctx.saved_tensors
        p_dot = ctx.beta * shares(x, ctx.beta) * x_dot.flatten(2)
        return p_dot @ cells(x) - p_dot.sum(-1, keepdim=True) * y


def shares(x: Tensor, beta: float) -> Tensor:
    """Return p (N, C, H W), the softmax written out."""
    scores = (beta * x).flatten(2)
    e = (scores - scores.detach().amax(-1, keepdim=True)).exp()
    return e / e.sum(-1, keepdim=True)


def cells(x: Tensor) -> Tensor:
    """Return g (H W, 2), the pixel (u, v) of each cell, row by row."""
    height, width = x.shape[2:]
    v, u = (torch.arange(n, dtype=x.dtype, device=x.device) for n in (height, width))
    return torch.stack([u.repeat(height), v.repeat_interleave(width)], -1)


def soft_argmax2d(x: Tensor, beta: float = 1.0) -> Tensor:
    """Return the expected pixel (N, C, 2), (u, v), of maps x (N, C, H, W) under the softmax of beta x.

    Raises ValueError where a map has no cell, or beta is not above zero.
    """
    expect(
        x.dim() == 4 and x.shape[2] * x.shape[3] > 0, "soft_argmax2d", "x (N, C, H, W), H and W above 0", x
    )
    expect(beta > 0, "soft_argmax2d", "beta above 0", beta)
    expect_alike("soft_argmax2d", x=x)
    y: Tensor = SoftArgmaxFunction.apply(x, float(beta))
    return y


class SoftArgmax2d(nn.Module):
    """Maps (N, C, H, W) -> pixels (N, C, 2): see `soft_argmax2d`."""

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        return soft_argmax2d(x, self.beta)
