"""Elementary functions of one input: the gates that scale what comes back by their own derivative.

    gate          y            gradient of the input
    exp           e^x          dx = dy y
    log           ln x         dx = dy / x
    reciprocal    1 / x        dx = -dy y^2
    tanh          tanh x       dx = dy (1 - y^2)
    sigmoid       1/(1+e^-x)   dx = dy y (1 - y)

x and y have any shape. The gates of several inputs stand in gates.py.

Cost: one pass over the elements each way; saves y where the gradient is written in y, else x.
Faster forms: kernels/elementwise.py.
Source: Stanford CS231n, backpropagation: patterns in gradient flow.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect_alike
from .kernels import elementwise as fast


class ExpFunction(Function):
    """y = e^x."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.exp()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return dy * y

    tangent = backward  # a diagonal Jacobian is its own transpose


class LogFunction(Function):
    """y = ln x."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.log()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return dy / x

    tangent = backward


class ReciprocalFunction(Function):
    """y = 1 / x."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.reciprocal()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return reciprocal_backward(y, dy)

    tangent = backward


@or_faster(fast.reciprocal_backward)
def reciprocal_backward(y: Tensor, dy: Tensor) -> Tensor:
    """Return -dy y^2."""
    return -dy * y * y


class TanhFunction(Function):
    """y = tanh x = (e^x - e^-x) / (e^x + e^-x)."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return hyperbolic_tangent(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return tanh_backward(y, dy)

    tangent = backward


@or_faster(fast.tanh)
def hyperbolic_tangent(x: Tensor) -> Tensor:
    """Return tanh x."""
    return x.tanh()


@or_faster(fast.tanh_backward)
def tanh_backward(y: Tensor, dy: Tensor) -> Tensor:
    """Return dy (1 - y^2)."""
    return dy * (1 - y * y)


class SigmoidFunction(Function):
    """y = 1 / (1 + e^-x)."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.sigmoid()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return sigmoid_backward(y, dy)

    tangent = backward


@or_faster(fast.sigmoid_backward)
def sigmoid_backward(y: Tensor, dy: Tensor) -> Tensor:
    """Return dy y (1 - y)."""
    return dy * (y * (1 - y))


def exp(input: Tensor) -> Tensor:
    """Return e^x elementwise."""
    return _unary(ExpFunction, "exp", input)


def log(input: Tensor) -> Tensor:
    """Return the natural logarithm elementwise; -inf at 0, nan below."""
    return _unary(LogFunction, "log", input)


def reciprocal(input: Tensor) -> Tensor:
    """Return 1 / x elementwise; infinite at 0."""
    return _unary(ReciprocalFunction, "reciprocal", input)


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent elementwise."""
    return _unary(TanhFunction, "tanh", input)


def sigmoid(input: Tensor) -> Tensor:
    """Return 1 / (1 + e^-x) elementwise."""
    return _unary(SigmoidFunction, "sigmoid", input)


def _unary(function: type[Function], name: str, x: Tensor) -> Tensor:
    expect_alike(name, x=x)
    y: Tensor = function.apply(x)
    return y


class Tanh(nn.Tanh):
    """As torch.nn.Tanh."""

    def forward(self, input: Tensor) -> Tensor:
        return tanh(input)


class Sigmoid(nn.Sigmoid):
    """As torch.nn.Sigmoid."""

    def forward(self, input: Tensor) -> Tensor:
        return sigmoid(input)
