"""Fused blocks: two or three layers with one backward, which keeps less or passes over memory less often.

    linear_relu            y = max(0, x W^T + b)     the gate is read off y: what came before is never kept
    add_relu               y = max(0, a + b)         dx = dy where y > 0, to both
    linear_cross_entropy   the mean loss of x W^T    gradients are made chunk by chunk in the forward, so that
                                                     the logits (N, C) never exist at once
    point_mlp_max          y = max_i max(0, x_i W^T + b)
                                                     max passes bias and rectifier, both monotone: only the
                                                     winning point of each feature gets a gradient

Each equals its composition. linear_relu and add_relu cost what their parts cost. linear_cross_entropy does
its 6 N D C FLOPs in the forward, and saves x, dx and dW, whatever C is. point_mlp_max, (B, P, D) -> (B, M),
takes 2 B P D M FLOPs forward and only 4 B D M backward, and saves x and one index an output.
Source: Qi et al., PointNet (2017), eq. 1; Wijmans et al., Cut your losses (2024).
"""

from typing import Any

import torch
from torch import Tensor

from ._function import Function, expect, expect_alike, may_overwrite
from ._reduction import mean_of
from .cross_entropy import check_target
from .linear import Linear, matmul_transposed, outer_sum
from .opaque import Result, is_traced, opaque
from .relu import relu_backward


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


class LinearCrossEntropyFunction(Function):
    """Sum of losses over rows, and its gradients of x and W as further outputs, for the backward to scale."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, weight: Tensor, target: Tensor, valid: Tensor, rows: int) -> tuple[Tensor, ...]:
        if is_traced(x, weight):
            return traced_loss_and_gradients(x, weight, target, valid, rows)
        return loss_and_gradients(x, weight, target, valid, rows)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, target, valid, _ = inputs
        _, dx, dweight = output
        ctx.mark_non_differentiable(dx, dweight)
        ctx.save_for_backward(x, weight, target, valid, dx, dweight)
        ctx.save_for_forward(dx, dweight)

    @staticmethod
    def backward(ctx: Any, dloss: Tensor, *_: Any) -> Any:
        x, weight, target, valid, dx, dweight = ctx.saved_tensors
        need_x, need_weight, *_ = ctx.needs_input_grad
        if not may_overwrite(dloss) and not torch.compiler.is_compiling():
            # as functions of x and W, to be differentiated once more, at the price of all logits at once
            p = (x @ weight.t()).softmax(1)
            q = p.scatter_add(1, target[:, None], -torch.ones_like(p[:, :1])) * valid[:, None]
            dx, dweight = q @ weight, q.t() @ x
        if not len(x):
            return dx, dweight, None, None, None  # the mean of nothing has an infinite upstream gradient
        return dloss * dx if need_x else None, dloss * dweight if need_weight else None, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Any, weight_dot: Any, *_: Any) -> Any:
        dx, dweight = ctx.saved_tensors
        parts = [(d * dot).sum() for d, dot in ((dx, x_dot), (dweight, weight_dot)) if dot is not None]
        return torch.stack(parts).sum(), None, None


def loss_and_gradients(
    x: Tensor, weight: Tensor, target: Tensor, valid: Tensor, rows: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sum of losses, dx (N, D) and dW (C, D), `rows` rows at a time."""
    loss = x.new_zeros(())
    dx: list[Tensor] = []
    dweight = None
    for first in range(0, len(x), rows):
        part = slice(first, first + rows)
        logits = matmul_transposed(x[part], weight)
        classes = target[part, None]
        scores = logits.gather(1, classes)
        p = logits.softmax(1)
        log_sum = logits.amax(1, keepdim=True) - p.amax(1, keepdim=True).log()
        kept = valid[part, None]
        loss = loss + torch.where(kept, log_sum - scores, 0).sum()
        p = p.scatter_add(1, classes, -torch.ones_like(scores)) * kept
        dx.append(matmul_transposed(p, weight.t()))
        step = outer_sum(p, x[part])
        dweight = step if dweight is None else dweight.add_(step)
    if dweight is None:
        return loss, torch.zeros_like(x), torch.zeros_like(weight)
    return loss, torch.cat(dx), dweight


traced_loss_and_gradients = opaque(
    "linear_cross_entropy", lambda x, weight, *_: [Result([]), Result(x.shape), Result(weight.shape)]
)(loss_and_gradients)


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


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return relu(linear(x, weight, bias)): x (..., D), weight (M, D), bias (M) or None -> (..., M).

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    check_linear("linear_relu", x, weight, bias)
    y: Tensor = LinearReLUFunction.apply(x, weight, bias)
    return y


def add_relu(a: Tensor, b: Tensor) -> Tensor:
    """Return relu(a + b) of two tensors of one shape. Raises ValueError where they differ."""
    expect(a.shape == b.shape, "add_relu", f"b {tuple(a.shape)} as a", b)
    expect_alike("add_relu", a=a, b=b)
    y: Tensor = AddReLUFunction.apply(a, b)
    return y


def linear_cross_entropy(
    x: Tensor, weight: Tensor, target: Tensor, ignore_index: int = -100, rows: int = 256
) -> Tensor:
    """Return the mean cross-entropy of logits x W^T: x (N, D), weight (C, D), target (N), `rows` at a time.

    Raises ValueError where shapes, dtypes or classes do not fit.
    """
    name = "linear_cross_entropy"
    expect(x.dim() == 2, name, "x (N, D)", x)
    check_linear(name, x, weight, None)
    expect(rows > 0, name, "rows of at least 1", rows)
    check_target(name, x.detach()[:, :1].expand(-1, len(weight)), target, ignore_index)
    valid = target != ignore_index
    total: Tensor = LinearCrossEntropyFunction.apply(x, weight, torch.where(valid, target, 0), valid, rows)[0]
    return mean_of(total, valid.sum())


def point_mlp_max(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return max over points of relu(x W^T + b): x (B, P, D), weight (M, D), bias (M) -> (B, M).

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    name = "point_mlp_max"
    expect(x.dim() == 3 and x.shape[1] > 0, name, "x (B, P, D) with at least one point", x)
    check_linear(name, x, weight, bias)
    y: Tensor = PointMLPMaxFunction.apply(x, weight, bias)[0] if x.shape[0] else x.new_zeros(0, len(weight))
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


class PointMLPMax(Linear):
    """Linear, ReLU and the maximum over points as one layer: (B, P, D) -> (B, M)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return point_mlp_max(x, self.weight, self.bias if self.bias is not None else x.new_zeros(()))
