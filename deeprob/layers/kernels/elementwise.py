"""The faster forms of gates of one input, each one pass over memory; None where it does not fit."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._function import is_plain
from . import gates, gelu, relu
from .loops import is_dense, run

LOOP_FROM = 1 << 12  # entries from which a loop pays for its call, where the formula takes exponentials
TWO_PASSES = 1 << 15  # and where it is two operations, which hurt as soon as they leave the cache


def relu_backward(y: Tensor, dy: Tensor) -> Tensor | None:
    """Return dy where y > 0, else 0."""
    return one_pass(relu.relu_gradient, y, dy, bfloat16=True, least=TWO_PASSES)


def leaky_relu_backward(x: Tensor, dy: Tensor, slope: float) -> Tensor | None:
    """Return dy where x > 0, else a dy."""
    return one_pass(relu.leaky_relu_gradient, x, dy, slope, bfloat16=True)


def tanh_gelu(x: Tensor) -> Tensor | None:
    """Return x (1 + t) / 2."""
    return of_each(gelu.tanh_gelu, x)


def gelu_backward(x: Tensor, dy: Tensor) -> Tensor | None:
    """Return dy (Phi(x) + x phi(x))."""
    return one_pass(gelu.gelu_gradient, x, dy)


def tanh_gelu_backward(x: Tensor, dy: Tensor) -> Tensor | None:
    """Return dy ((1 + t) + x (1 - t^2) u') / 2."""
    return one_pass(gelu.tanh_gelu_gradient, x, dy)


def silu_backward(x: Tensor, dy: Tensor) -> Tensor | None:
    """Return dy s (1 + x (1 - s))."""
    return one_pass(gelu.silu_gradient, x, dy)


def reciprocal_backward(y: Tensor, dy: Tensor) -> Tensor | None:
    """Return -dy y^2."""
    return one_pass(gates.reciprocal_gradient, y, dy)


def tanh(x: Tensor) -> Tensor | None:
    """Return tanh x."""
    return of_each(gates.tanh, x)


def tanh_backward(y: Tensor, dy: Tensor) -> Tensor | None:
    """Return dy (1 - y^2)."""
    return one_pass(gates.tanh_gradient, y, dy)


def sigmoid_backward(y: Tensor, dy: Tensor) -> Tensor | None:
    """Return dy y (1 - y)."""
    return one_pass(gates.sigmoid_gradient, y, dy)


def of_each(loop: Callable[..., None], x: Tensor) -> Tensor | None:
    """Return y by a loop over x."""
    if x.numel() < LOOP_FROM or not is_plain(x) or not is_dense(x):
        return None
    y = torch.empty_like(x)
    run(loop, x.numel(), x, y, grain=LOOP_FROM, flat=True)
    return y


def one_pass(
    loop: Callable[..., None],
    x: Tensor,
    dy: Tensor,
    *numbers: Any,
    bfloat16: bool = False,
    least: int = LOOP_FROM,
) -> Tensor | None:
    """Return dx by a loop over x and dy, where both lie in memory alike, of `least` entries or more."""
    if x.numel() < least or x.dtype != dy.dtype or not is_plain(x, dy, bfloat16=bfloat16):
        return None
    if x.stride() != dy.stride() or not is_dense(x):
        return None
    dx = torch.empty_like(x)
    run(loop, x.numel(), x, dy, *numbers, dx, grain=LOOP_FROM, flat=True)
    return dx
