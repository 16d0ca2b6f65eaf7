"""Rectified linear units.

    y = max(0, x)        any shape

    dx = dy where y > 0, else 0      max routes the gradient to its winner; at x = 0, as in torch,
                                     the constant wins

The Jacobian is diagonal and never formed. Cost: one comparison an element; saves y, which the next layer
keeps anyway.
"""

from typing import Any

from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect_alike
from .kernels import elementwise as fast


class ReLUFunction(Function):
    """The rectifier above."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.relu()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return relu_backward(y, dy)

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return y.sign() * x_dot


@or_faster(fast.relu_backward)
def relu_backward(y: Tensor, dy: Tensor) -> Tensor:
    """Return dy where y > 0, else 0."""
    return y.sign() * dy  # 1 where y > 0, else 0: faster than a comparison


class LeakyReLUFunction(Function):
    """y = x where x > 0, else a x: dx = dy, else a dy. Saves x."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor, slope: float) -> Tensor:
        return nn.functional.leaky_relu(x, slope)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.slope = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return leaky_relu_backward(x, dy, ctx.slope), None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, _: Any) -> Any:
        (x,) = ctx.saved_tensors
        return (x.sign().clamp_min(0) * (1 - ctx.slope) + ctx.slope) * x_dot


@or_faster(fast.leaky_relu_backward)
def leaky_relu_backward(x: Tensor, dy: Tensor, slope: float) -> Tensor:
    """Return dy where x > 0, else a dy."""
    gate = x.sign().clamp_min(0)  # at x = 0 the leak wins, as in torch
    return (gate * (1 - slope) + slope) * dy


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(0, x), elementwise, any shape; `inplace` or not, nothing is overwritten.

    Raises ValueError where x is not floating.
    """
    expect_alike("relu", x=input)
    y: Tensor = ReLUFunction.apply(input)
    return y


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """X where positive, else negative_slope x, elementwise; `inplace` or not, nothing is overwritten.

    Raises ValueError where x is not floating.
    """
    expect_alike("leaky_relu", x=input)
    y: Tensor = LeakyReLUFunction.apply(input, negative_slope)
    return y


class ReLU(nn.ReLU):
    """As torch.nn.ReLU; `inplace` is accepted and ignored: nothing is overwritten."""

    def forward(self, input: Tensor) -> Tensor:
        return relu(input)


class LeakyReLU(nn.LeakyReLU):
    """As torch.nn.LeakyReLU; `inplace` is accepted and ignored: nothing is overwritten."""

    def forward(self, input: Tensor) -> Tensor:
        return leaky_relu(input, self.negative_slope)
