"""Linear layer, rectifier and maximum over the points of a cloud: PointNet's last three layers as one.

    y = max_i max(0, x_i W^T + b)     x (B, P, D)   W (M, D)   b (M)   y (B, M)

The maximum passes bias and rectifier, both monotone: only the winning point i* of each feature has one.

    dz = dy where y > 0    dx_{i*} = dz W    dW = dz^T x_{i*}    db = sum of dz

Cost: 2 B P D M FLOPs forward and only 4 B D M backward; saves x and one index an output.
Source: Qi et al., PointNet (2017), eq. 1.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect
from ..linear import Linear, matmul_transposed
from .linear_relu import check_linear


class PointMLPMaxFunction(Function):
    """y (B, M): the largest rectified feature over the points of x (B, P, D), and which point had it."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        if torch.compiler.is_exporting():  # a loop would fix the number of samples
            values, indices = matmul_transposed(x, weight).max(1)
            return (values + bias).relu_(), indices
        best = [matmul_transposed(points, weight).max(0) for points in x]  # one sample's features at a time
        y = (torch.stack([b.values for b in best]) + bias).relu_()
        return y, torch.stack([b.indices for b in best])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, weight, _ = inputs
        y, winners = output
        ctx.mark_non_differentiable(winners)
        ctx.save_for_backward(x, weight, y, winners)
        ctx.save_for_forward(x, weight, y, winners)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Any) -> Any:
        x, weight, y, winners = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        dz = dy * y.sign()
        index = winners[..., None].expand(*winners.shape, x.shape[2])
        dx = torch.zeros_like(x).scatter_add(1, index, dz[..., None] * weight) if need_x else None
        dweight = (dz[..., None] * x.gather(1, index)).sum(0) if need_weight else None
        return dx, dweight, dz.sum(0) if need_bias else None

    @staticmethod
    def tangent(ctx: Any, x_dot: Any, weight_dot: Any, bias_dot: Any) -> Any:
        x, weight, y, winners = ctx.saved_tensors
        index = winners[..., None].expand(*winners.shape, x.shape[2])
        z_dot = torch.zeros_like(y)
        z_dot = z_dot if x_dot is None else z_dot + (x_dot.gather(1, index) * weight).sum(2)
        z_dot = z_dot if weight_dot is None else z_dot + (x.gather(1, index) * weight_dot).sum(2)
        z_dot = z_dot if bias_dot is None else z_dot + bias_dot
        return y.sign() * z_dot, None


def point_mlp_max(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return max over points of relu(x W^T + b): x (B, P, D), weight (M, D), bias (M) -> (B, M).

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    name = "point_mlp_max"
    expect(x.dim() == 3 and x.shape[1] > 0, name, "x (B, P, D) with at least one point", x)
    check_linear(name, x, weight, bias)
    y: Tensor = PointMLPMaxFunction.apply(x, weight, bias)[0] if x.shape[0] else x.new_zeros(0, len(weight))
    return y


class PointMLPMax(Linear):
    """Linear, ReLU and the maximum over points as one layer: (B, P, D) -> (B, M)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return point_mlp_max(x, self.weight, self.bias if self.bias is not None else x.new_zeros(()))
