"""Smooth gates: GELU, exact or by tanh, and SiLU.

    gelu   y = x Phi(x)                        dx = dy (Phi(x) + x phi(x))
           Phi, phi: the normal distribution and density
    tanh   y = x (1 + t) / 2,                  dx = dy ((1 + t) + x (1 - t^2) u') / 2
           t = tanh(u),  u = k (x + c x^3),    u' = k (1 + 3 c x^2),  k = sqrt(2 / pi),  c = 0.044715
    silu   y = x s,  s = 1 / (1 + e^-x)        dx = dy s (1 + x (1 - s))

Any shape. Cost: one error function, tanh or exponential an element each way; saves x.
Source: Hendrycks and Gimpel, Gaussian error linear units (2016).
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect, expect_alike
from .kernels import elementwise as fast

K = math.sqrt(2 / math.pi)
C = 0.044715


class GELUFunction(Function):
    """The exact gate above."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return nn.functional.gelu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return gelu_backward(x, dy)

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return x_dot * gelu_slope(x)


class TanhGELUFunction(GELUFunction):
    """The approximate gate above."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return tanh_gelu(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return tanh_gelu_backward(x, dy)

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return x_dot * tanh_gelu_slope(x)


class SiLUFunction(GELUFunction):
    """The sigmoid-weighted gate above."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return nn.functional.silu(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return silu_backward(x, dy)

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return x_dot * silu_slope(x)


@or_faster(fast.tanh_gelu)
def tanh_gelu(x: Tensor) -> Tensor:
    """Return x (1 + t) / 2."""
    return nn.functional.gelu(x, approximate="tanh")


@or_faster(fast.gelu_backward)
def gelu_backward(x: Tensor, dy: Tensor) -> Tensor:
    """Return dy (Phi(x) + x phi(x))."""
    return dy * gelu_slope(x)


@or_faster(fast.tanh_gelu_backward)
def tanh_gelu_backward(x: Tensor, dy: Tensor) -> Tensor:
    """Return dy ((1 + t) + x (1 - t^2) u') / 2."""
    return dy * tanh_gelu_slope(x)


@or_faster(fast.silu_backward)
def silu_backward(x: Tensor, dy: Tensor) -> Tensor:
    """Return dy s (1 + x (1 - s))."""
    return dy * silu_slope(x)


def gelu_slope(x: Tensor) -> Tensor:
    """Return Phi(x) + x phi(x)."""
    return 0.5 * (1 + torch.erf(x * math.sqrt(0.5))) + x * torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def tanh_gelu_slope(x: Tensor) -> Tensor:
    """Return ((1 + t) + x (1 - t^2) u') / 2."""
    t = torch.tanh(K * (x + C * x * x * x))
    return 0.5 * (1 + t + x * (1 - t * t) * (K * (1 + 3 * C * x * x)))


def silu_slope(x: Tensor) -> Tensor:
    """Return s (1 + x (1 - s))."""
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Gate x by the normal distribution, elementwise, exactly or with approximate="tanh".

    Raises ValueError where x is not floating or the approximation unknown.
    """
    expect(approximate in ("none", "tanh"), "gelu", 'approximate "none" or "tanh"', repr(approximate))
    expect_alike("gelu", x=input)
    y: Tensor = (GELUFunction if approximate == "none" else TanhGELUFunction).apply(input)
    return y


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Gate x by its own sigmoid, elementwise; `inplace` or not, nothing is overwritten.

    Raises ValueError where x is not floating.
    """
    expect_alike("silu", x=input)
    y: Tensor = SiLUFunction.apply(input)
    return y


class GELU(nn.GELU):
    """As torch.nn.GELU."""

    def forward(self, input: Tensor) -> Tensor:
        return gelu(input, self.approximate)


class SiLU(nn.SiLU):
    """As torch.nn.SiLU; `inplace` is accepted and ignored: nothing is overwritten."""

    def forward(self, input: Tensor) -> Tensor:
        return silu(input)
