"""Rectified linear unit.

    y = max(0, x)        any shape

    dx = dy where y > 0, else 0      max routes the gradient to its winner; at x = 0, as in torch,
                                     the constant wins

The Jacobian is diagonal and never formed. Cost: one comparison an element; saves y, which the next layer
keeps anyway.
"""

from typing import Any

from torch import Tensor, nn

from ._function import Function, expect_alike, may_overwrite


class ReLUFunction(Function):
    """The rectifier above."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clamp_min(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        gate = y.sign()  # 1 where y > 0, else 0: faster than a comparison
        return gate.mul_(dy) if may_overwrite(dy) else gate * dy

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return y.sign() * x_dot


def relu(x: Tensor) -> Tensor:
    """max(0, x), elementwise, any shape. Raises ValueError where x is not floating."""
    expect_alike("relu", x=x)
    y: Tensor = ReLUFunction.apply(x)
    return y


class ReLU(nn.Module):
    """As torch.nn.ReLU; `inplace` is accepted and ignored: nothing is overwritten."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return relu(x)
