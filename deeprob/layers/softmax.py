"""Softmax and its logarithm, along one axis.

    softmax       y_i = exp(x_i) / sum_j exp(x_j)      dx_i = y_i (dy_i - sum_j y_j dy_j)
    log_softmax   y_i = x_i - log sum_j exp(x_j)       dx_i = dy_i - exp(y_i) sum_j dy_j

The Jacobians, diag(y) - y y^T and 1 - 1 exp(y)^T, are never formed: a dot product along the axis is enough.
Cost: one exponential an element each way (softmax: forward only); saves y.
Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.2.2.3.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect, expect_alike, narrowed, widened
from .kernels import softmax as fast


class SoftmaxFunction(Function):
    """The softmax above."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, dim: int) -> Tensor:
        return x.softmax(dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.dim = inputs[1]
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return narrowed(through_softmax(widened(y), widened(dy), ctx.dim), y), None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, _: Any) -> Any:
        (y,) = ctx.saved_tensors
        return through_softmax(y, x_dot, ctx.dim)  # the Jacobian is symmetric


class LogSoftmaxFunction(Function):
    """The logarithm of the softmax above."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, dim: int) -> Tensor:
        return x.log_softmax(dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.dim = inputs[1]
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return narrowed(through_log_softmax(widened(y), widened(dy), ctx.dim), y), None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, _: Any) -> Any:
        (y,) = ctx.saved_tensors
        return x_dot - (y.exp() * x_dot).sum(ctx.dim, keepdim=True)


@or_faster(fast.through_softmax)
def through_softmax(y: Tensor, dy: Tensor, dim: int) -> Tensor:
    """Return y (dy - sum_j y_j dy_j)."""
    return y * (dy - (y * dy).sum(dim, keepdim=True))


@or_faster(fast.through_log_softmax)
def through_log_softmax(y: Tensor, dy: Tensor, dim: int) -> Tensor:
    """Return dy - exp(y) sum_j dy_j."""
    return dy - y.exp() * dy.sum(dim, keepdim=True)


def softmax(input: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return positive weights of sum one along `dim`, of the input cast to `dtype`.

    Raises ValueError where there is no such axis.
    """
    input = input if dtype is None else input.to(dtype)
    check("softmax", input, dim)
    y: Tensor = SoftmaxFunction.apply(input, dim)
    return y


def log_softmax(input: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return the logarithm of softmax, same shape, of the input cast to `dtype`.

    Raises ValueError where there is no such axis.
    """
    input = input if dtype is None else input.to(dtype)
    check("log_softmax", input, dim)
    y: Tensor = LogSoftmaxFunction.apply(input, dim)
    return y


def check(name: str, x: Tensor, dim: int) -> None:
    """Raise ValueError unless x is floating and has the axis."""
    expect_alike(name, x=x)
    rank = max(1, x.dim())
    fits = isinstance(dim, int) and -rank <= dim < rank
    expect(fits, name, f"dim from {-rank} to {rank - 1}", dim)


class Softmax(nn.Softmax):
    """As torch.nn.Softmax; the axis must be said."""

    dim: int

    def forward(self, input: Tensor) -> Tensor:
        return softmax(input, self.dim)


class LogSoftmax(nn.LogSoftmax):
    """As torch.nn.LogSoftmax; the axis must be said."""

    dim: int

    def forward(self, input: Tensor) -> Tensor:
        return log_softmax(input, self.dim)
