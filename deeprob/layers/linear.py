"""Linear layer.

    y = x W^T + b        x (..., D)   W (M, D)   b (M)   y (..., M)

    dx = dy W            each input collects the outputs it fed
    dW = dy^T x          an outer product a sample, summed over the samples
    db = sum(dy)         b is copied to every sample; a copy's gradient is the sum

The Jacobian dy/dx has (N M)(N D) entries (256 GiB at N = 64, D = M = 4096) and is never formed.
Cost: forward 2 N D M FLOPs, backward 4 N D M; saves x (W is a parameter).
Source: Johnson, backpropagation lecture, matrix multiply.
"""

from typing import Any

from torch import Tensor, nn

from ._fast import or_faster
from ._function import Function, expect, expect_alike
from .kernels import linear as fast


class LinearFunction(Function):
    """The linear layer above."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return matmul_transposed(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        rows = dy.reshape(-1, dy.shape[-1])
        dx = matmul_transposed(dy, weight.t()) if need_x else None
        dweight = outer_sum(rows, x.reshape(-1, x.shape[-1])) if need_weight else None
        dbias = rows.sum(0) if need_bias else None
        return dx, dweight, dbias

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor | None, weight_dot: Tensor | None, bias_dot: Tensor | None) -> Any:
        x, weight = ctx.saved_tensors
        y_dot: Any = 0 if x_dot is None else x_dot @ weight.t()
        y_dot = y_dot if weight_dot is None else y_dot + x @ weight_dot.t()
        return y_dot if bias_dot is None else y_dot + bias_dot


@or_faster(fast.matmul_transposed)
def matmul_transposed(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """Return x W^T + b, then max(0, .) if `relu`."""
    y = nn.functional.linear(x, weight, bias)
    return y.relu_() if relu else y


def outer_sum(dy: Tensor, x: Tensor) -> Tensor:
    """Return dy^T x (M, D) of dy (N, M) and x (N, D)."""
    if len(x) > max(x.shape[1], dy.shape[1]):  # many rows: torch's BLAS splits them better
        return dy.t() @ x
    return matmul_transposed(dy.t(), x.t())


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W^T + b (..., M) of x (..., D), weight (M, D) and bias (M) or None.

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    x = input
    expect(weight.dim() == 2, "linear", "weight (M, D)", weight)
    num_outputs, num_inputs = weight.shape
    expect(x.dim() >= 1 and x.shape[-1] == num_inputs, "linear", f"x (..., {num_inputs})", x)
    expect(bias is None or bias.shape == (num_outputs,), "linear", f"bias ({num_outputs},)", bias)
    expect_alike("linear", x=x, weight=weight, bias=bias)
    y: Tensor = LinearFunction.apply(x, weight, bias)
    return y


class Linear(nn.Linear):
    """As torch.nn.Linear, with the gradient above."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)
