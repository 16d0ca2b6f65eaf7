"""Matrix product, batched.

    Y = A B          A (..., N, K)   B (..., K, M)   Y (..., N, M)   leading axes broadcast

    dA = dY B^T      the only products of these two whose shapes fit: (N, M)(M, K)
    dB = A^T dY      (K, N)(N, M)

A gradient is summed over the axes along which its input was broadcast.
Cost: forward 2 N K M FLOPs a product, backward 4 N K M; saves A and B.
Source: Johnson, backpropagation lecture, matrix multiply.
"""

from typing import Any

from torch import Tensor

from ._function import Function, expect, expect_alike


class MatmulFunction(Function):
    """Y = A B, at least two axes each."""

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        a, b = ctx.saved_tensors
        need_a, need_b = ctx.needs_input_grad
        da = summed_product(dy, b.mT, a.shape) if need_a else None
        db = summed_product(a.mT, dy, b.shape) if need_b else None
        return da, db

    @staticmethod
    def tangent(ctx: Any, a_dot: Tensor, b_dot: Tensor) -> Any:
        a, b = ctx.saved_tensors
        return a_dot @ b + a @ b_dot


def summed_product(a: Tensor, b: Tensor, shape: Any) -> Tensor:
    """Return A B summed to `shape`; for a plain matrix one long product does the sum over the batch too."""
    if len(shape) == 2 and a.dim() == b.dim() > 2 and a.shape[:-2] == b.shape[:-2]:
        return a.movedim(-2, 0).flatten(1) @ b.flatten(0, -2)
    return (a @ b).sum_to_size(shape)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return A B (..., N, M) of A (..., N, K) and B (..., K, M).

    A vector (K,) is a row on the left, a column on the right; Y then lacks that axis.

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    expect(a.dim() >= 1, "matmul", "a (..., N, K) or (K,)", a)
    expect(b.dim() >= 1, "matmul", "b (..., K, M) or (K,)", b)
    rows, columns = (a if a.dim() > 1 else a[None]), (b if b.dim() > 1 else b[:, None])
    expect(
        rows.shape[-1] == columns.shape[-2],
        "matmul",
        f"b (..., {rows.shape[-1]}, M) for a {tuple(a.shape)}",
        b,
    )
    batches = zip(rows.shape[-3::-1], columns.shape[-3::-1], strict=False)
    fits = all(i == j or 1 in (i, j) for i, j in batches)
    expect(fits, "matmul", f"b whose leading axes broadcast with a {tuple(a.shape)}", b)
    expect_alike("matmul", a=a, b=b)
    y: Tensor = MatmulFunction.apply(rows, columns)
    y = y if a.dim() > 1 else y.squeeze(-2)
    return y if b.dim() > 1 else y.squeeze(-1)
