"""A sum and its rectifier, the end of a residual block.

    y = max(0, a + b)     all of one shape
    da = db = dy where y > 0

Cost: as the parts; saves y, which the next layer keeps too.
Source: the chain rule.
"""

from typing import Any

from torch import Tensor

from .._function import Function, expect, expect_alike
from ..relu import relu_backward


class AddReLUFunction(Function):
    """y = max(0, a + b), the end of a residual block."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return (a + b).relu_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        dx = relu_backward(y, dy)
        return dx, dx

    @staticmethod
    def tangent(ctx: Any, a_dot: Any, b_dot: Any) -> Any:
        (y,) = ctx.saved_tensors
        total = a_dot if b_dot is None else b_dot if a_dot is None else a_dot + b_dot
        return y.sign() * total


def add_relu(a: Tensor, b: Tensor) -> Tensor:
    """Return relu(a + b) of two tensors of one shape. Raises ValueError where they differ."""
    expect(a.shape == b.shape, "add_relu", f"b {tuple(a.shape)} as a", b)
    expect_alike("add_relu", a=a, b=b)
    y: Tensor = AddReLUFunction.apply(a, b)
    return y
