"""The last linear layer and its loss: the logits (N, C) never exist at once.

    loss = mean over rows n with a class t of  ln sum_c e^{z_c} - z_t,   z = x W^T      x (N, D)   W (C, D)

    dz = softmax(z) - onehot(t)    dx = dz W    dW = dz^T x      each over the number of rows with a class

The gradients are made chunk by chunk in the forward, where the logits are; the backward scales them.
Cost: 6 N D C FLOPs in the forward; saves x, dx and dW, whatever C is.
Source: Wijmans et al., Cut your losses (2024).
"""

from typing import Any

import torch
from torch import Tensor

from .._fast import or_faster
from .._function import Function, expect, may_overwrite, narrowed, widened
from ..kernels.opaque import Operation, Result
from ..linear import linear, matmul_transposed, outer_sum
from ..losses._reduction import Reduction, mean_of
from ..losses.cross_entropy import check_target, cross_entropy
from .linear_relu import check_linear


class LinearCrossEntropyFunction(Function):
    """Sum of losses over rows, and its gradients of x and W as further outputs, for the backward to scale."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(x: Tensor, weight: Tensor, target: Tensor, valid: Tensor, rows: int) -> tuple[Tensor, ...]:
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


OPERATION = Operation(  # a compiler would write out every chunk
    "linear_cross_entropy", lambda x, weight, *_: [Result([]), Result(x.shape), Result(weight.shape)]
)


@or_faster(None, OPERATION)
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


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: object = None,
    rows: int = 256,
) -> Tensor:
    """Return the cross-entropy of logits x W^T + b: x (N, D) or (D), linear_weight (C, D), target (N).

    The mean over class indices, without bias, weight and smoothing, is made `rows` rows at a time; with any
    of those, or linear_weight (C, d1, ..., D), the logits exist at once. `options`, torch's way of cutting
    the rows, changes no value and is not needed.
    Raises ValueError where shapes, dtypes or classes do not fit.
    """
    x, name = input, "linear_cross_entropy"
    ignored = -100 if ignore_index is None else ignore_index
    plain = linear_bias is None and weight is None and reduction == "mean" and not label_smoothing
    if not (plain and x.dim() == linear_weight.dim() == 2 and not target.is_floating_point()):
        shape = linear_weight.shape[:-1]
        expect(len(shape) > 0, name, "linear_weight (C, D) or (C, d1, ..., D)", linear_weight)
        expect(len(shape) == 1 or x.dim() == 2, name, "x (N, D) for linear_weight (C, d1, ..., D)", x)
        expect(
            linear_bias is None or linear_bias.shape == shape,
            name,
            f"linear_bias {tuple(shape)}",
            linear_bias,
        )
        bias = None if linear_bias is None else widened(linear_bias).flatten()
        logits = linear(widened(x), widened(linear_weight).flatten(0, -2), bias).reshape(
            *x.shape[:-1], *shape
        )
        loss = cross_entropy(logits, widened(target), widened(weight), ignored, reduction, label_smoothing)
        return narrowed(loss, x)
    check_linear(name, x, linear_weight, None)
    expect(rows > 0, name, "rows of at least 1", rows)
    check_target(name, x.detach()[:, :1].expand(-1, len(linear_weight)), target, ignored)
    valid = target != ignored
    given = (widened(x), widened(linear_weight), torch.where(valid, target, 0), valid, rows)
    total: Tensor = LinearCrossEntropyFunction.apply(*given)[0]
    return narrowed(mean_of(total, valid.sum()), x)
