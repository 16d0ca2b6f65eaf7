"""Gates: the elementary operations that every computational graph is made of.

    gate          y            gradient of each input                     what it does to dy
    add           a + b        da = dy,  db = dy                          distributes it
    mul           a b          da = dy b,  db = dy a                      swaps the inputs
    maximum       max(a, b)    da = dy where a > b,  db = dy where b > a  routes it; a tie: half to each
    copy          x, ..., x    dx = dy_1 + ... + dy_n                     sums the branches
    exp           e^x          dx = dy y                                  scales it, as do all below
    log           ln x         dx = dy / x
    reciprocal    1 / x        dx = -dy y^2
    tanh          tanh x       dx = dy (1 - y^2)
    sigmoid       1/(1+e^-x)   dx = dy y (1 - y)

a, b, x, y have any shape. Two inputs broadcast, and then the gradient is summed back to the input's own
shape: broadcasting copies, and the gradient of a copy is the sum. The matrix product stands in matmul.py.

Cost: one pass over the elements each way; saves y where the gradient is written in y, else the inputs.
Faster forms: kernels/elementwise.py.
Source: Stanford CS231n, backpropagation: patterns in gradient flow.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect, expect_alike, may_overwrite
from .kernels import elementwise as fast


class AddFunction(Function):
    """y = a + b."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a + b

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.shapes = [x.shape for x in inputs]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a_shape, b_shape = ctx.shapes
        return dy.sum_to_size(a_shape), dy.sum_to_size(b_shape)

    @staticmethod
    def tangent(ctx: Any, a_dot: Tensor, b_dot: Tensor) -> Tensor:
        return a_dot + b_dot


class MulFunction(Function):
    """y = a b."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a * b

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a, b = ctx.saved_tensors
        need_a, need_b = ctx.needs_input_grad
        da = (dy * b).sum_to_size(a.shape) if need_a else None
        db = (dy * a).sum_to_size(b.shape) if need_b else None
        return da, db

    @staticmethod
    def tangent(ctx: Any, a_dot: Tensor, b_dot: Tensor) -> Any:
        a, b = ctx.saved_tensors
        return a_dot * b + a * b_dot


class MaximumFunction(Function):
    """y = max(a, b)."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a, b = ctx.saved_tensors
        da = dy * share_of_first(a, b)
        return da.sum_to_size(a.shape), (dy - da).sum_to_size(b.shape)

    @staticmethod
    def tangent(ctx: Any, a_dot: Tensor, b_dot: Tensor) -> Tensor:
        return b_dot + (a_dot - b_dot) * share_of_first(*ctx.saved_tensors)


def share_of_first(a: Tensor, b: Tensor) -> Tensor:
    """Return the share of the upstream gradient that a gets: 1 where a > b, 0 where b > a, 1/2 at a tie."""
    wins, ties = (a > b).to(a.dtype), (a == b).to(a.dtype)
    return wins.add_(ties, alpha=0.5) if may_overwrite(a) else wins + ties / 2


class CopyFunction(Function):
    """y_1 = ... = y_n = x."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor, num_copies: int) -> tuple[Tensor, ...]:
        # shares memory, yet is no view to autograd, which asks that the tangent of a view be a view
        alias: Any = torch.ops.aten._unsafe_view
        return tuple(alias(x, x.shape) for _ in range(num_copies))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: tuple[Tensor, ...]) -> None:
        ctx.num_copies = inputs[1]

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> Any:
        dx = dys[0]
        for dy in dys[1:]:
            dx = dx + dy
        return dx, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, _: None) -> Any:
        return (x_dot,) * ctx.num_copies


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


def add(a: Tensor, b: Tensor | float, *, alpha: float = 1) -> Tensor:
    """Return a + alpha b; shapes broadcast. Raises ValueError where they do not."""
    return _binary(AddFunction, "add", a, b if alpha == 1 else mul(as_tensor(b, a), alpha))


def mul(a: Tensor, b: Tensor | float) -> Tensor:
    """Return a b elementwise; shapes broadcast. Raises ValueError where they do not."""
    return _binary(MulFunction, "mul", a, b)


def maximum(a: Tensor, b: Tensor) -> Tensor:
    """Return the larger of a and b elementwise; shapes broadcast. Raises ValueError where they do not."""
    return _binary(MaximumFunction, "maximum", a, b)


def copy(x: Tensor, num_copies: int = 2) -> tuple[Tensor, ...]:
    """Return x num_copies times, one for each branch that reads it; they share memory."""
    expect(num_copies >= 1, "copy", "num_copies of at least 1", num_copies)
    copies: tuple[Tensor, ...] = CopyFunction.apply(x, num_copies)
    return copies


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


def as_tensor(b: Tensor | float, like: Tensor) -> Tensor:
    """Return a tensor as it is, a number as one of dtype and device of `like`."""
    return b if isinstance(b, Tensor) else torch.as_tensor(b, dtype=like.dtype, device=like.device)


def _binary(function: type[Function], name: str, a: Tensor, b: Tensor | float) -> Tensor:
    expect(isinstance(a, Tensor), name, "a tensor first", type(a).__name__)
    b = as_tensor(b, a)
    fits = all(i in (1, j) or j == 1 for i, j in zip(a.shape[::-1], b.shape[::-1], strict=False))
    expect(fits, name, f"b to broadcast with a {tuple(a.shape)}", b)
    expect_alike(name, a=a, b=b)
    y: Tensor = function.apply(a, b)
    return y


class Tanh(nn.Tanh):
    """As torch.nn.Tanh."""

    def forward(self, input: Tensor) -> Tensor:
        return tanh(input)


class Sigmoid(nn.Sigmoid):
    """As torch.nn.Sigmoid."""

    def forward(self, input: Tensor) -> Tensor:
        return sigmoid(input)
