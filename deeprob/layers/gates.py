"""Gates: the elementary operations that every computational graph is made of.

    gate          y            gradient of each input                     what it does to dy
    add           a + b        da = dy,  db = dy                          distributes it
    mul           a b          da = dy b,  db = dy a                      swaps the inputs
    maximum       max(a, b)    da = dy where a > b,  db = dy where b > a  routes it; a tie: half to each
    copy          x, ..., x    dx = dy_1 + ... + dy_n                     sums the branches

a, b, x have any shape. Two inputs broadcast, and then the gradient is summed back to the input's own shape:
broadcasting copies, and the gradient of a copy is the sum. Gates of one input, which scale what comes back,
stand in elementary.py, the matrix product in matmul.py.

Cost: one pass over the elements each way; saves what the other input's gradient needs.
Source: Stanford CS231n, backpropagation: patterns in gradient flow.
"""

from typing import Any

import torch
from torch import Tensor

from ._function import Function, expect, expect_alike, may_overwrite


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
