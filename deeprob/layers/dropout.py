"""Dropout.

    y = k x / (1 - p)        k = 1 with probability 1 - p, else 0, drawn anew for every entry; any shape
    y = x                    in evaluation: the expectation is the same

    dx = k dy / (1 - p)      the gate that let x through lets its gradient through

Cost: one random byte an entry; saves k, one byte an entry.
Source: Srivastava et al., Dropout (2014), in the inverted form.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._function import Function, expect, expect_alike


class GateFunction(Function):
    """y = k x / (1 - p) for a given boolean k."""

    autocast_dtype = "unchanged"

    @staticmethod
    def forward(x: Tensor, keep: Tensor, scale: float) -> Tensor:
        return x * keep * scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, keep, ctx.scale = inputs
        ctx.save_for_backward(keep)
        ctx.save_for_forward(keep)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (keep,) = ctx.saved_tensors
        return dy * keep * ctx.scale, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        (keep,) = ctx.saved_tensors
        return x_dot * keep * ctx.scale


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero entries of x with probability p and scale the rest by 1 / (1 - p); x itself outside training.

    `inplace` or not, nothing is overwritten. Raises ValueError where p is not a probability.
    """
    x = input
    expect(0 <= p <= 1, "dropout", "p between 0 and 1", p)
    expect_alike("dropout", x=x)
    if not training or p == 0:
        return x
    return gate(x, torch.rand_like(x, dtype=torch.float32) >= p, p)


def gate(x: Tensor, keep: Tensor, p: float) -> Tensor:
    """Let through the entries of x that `keep` says (boolean, shape of x), scaled by 1 / (1 - p).

    Raises ValueError where shapes do not fit.
    """
    expect(keep.dtype == torch.bool and keep.shape == x.shape, "dropout", f"keep bool {tuple(x.shape)}", keep)
    y: Tensor = GateFunction.apply(x, keep, 1 / (1 - p) if p < 1 else 0.0)
    return y


class Dropout(nn.Dropout):
    """As torch.nn.Dropout; `inplace` is accepted and ignored: nothing is overwritten."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p, self.training)
