"""A linear layer and its rectifier, with one backward.

    y = max(0, x W^T + b)     x (..., D)   W (M, D)   b (M)   y (..., M)

    dz = dy where y > 0       the gate is read off y: what came before it is never kept
    dx = dz W    dW = dz^T x    db = sum of dz over rows

Cost: as the parts; saves x and y.
Source: the chain rule.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect, expect_alike
from ..linear import Linear, matmul_transposed, outer_sum
from ..relu import relu_backward


class LinearReLUFunction(Function):
    """y = max(0, x W^T + b)."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return matmul_transposed(x, weight, bias, relu=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight, output)
        ctx.save_for_forward(x, weight, output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight, y = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        dz = relu_backward(y, dy)
        rows = dz.reshape(-1, dz.shape[-1])
        dx = matmul_transposed(dz, weight.t()) if need_x else None
        dweight = outer_sum(rows, x.reshape(-1, x.shape[-1])) if need_weight else None
        return dx, dweight, rows.sum(0) if need_bias else None

    @staticmethod
    def tangent(ctx: Any, x_dot: Any, weight_dot: Any, bias_dot: Any) -> Any:
        x, weight, y = ctx.saved_tensors
        z_dot = torch.zeros_like(y) if x_dot is None else x_dot @ weight.t()
        z_dot = z_dot if weight_dot is None else z_dot + x @ weight_dot.t()
        z_dot = z_dot if bias_dot is None else z_dot + bias_dot
        return y.sign() * z_dot


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return relu(linear(x, weight, bias)): x (..., D), weight (M, D), bias (M) or None -> (..., M).

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    check_linear("linear_relu", x, weight, bias)
    y: Tensor = LinearReLUFunction.apply(x, weight, bias)
    return y


def check_linear(name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Raise ValueError unless x (..., D), weight (M, D) and bias (M) fit."""
    expect(weight.dim() == 2, name, "weight (M, D)", weight)
    expect(x.dim() >= 1 and x.shape[-1] == weight.shape[1], name, f"x (..., {weight.shape[1]})", x)
    expect(bias is None or bias.shape == weight.shape[:1], name, f"bias ({len(weight)},)", bias)
    expect_alike(name, x=x, weight=weight, bias=bias)


class LinearReLU(Linear):
    """Sequential(Linear, ReLU) as one layer."""

    def forward(self, x: Tensor) -> Tensor:
        return linear_relu(x, self.weight, self.bias)
