"""Embedding: a table look-up.

    y[n] = W[i[n]]               i (...) integers   W (V, D)   y (..., D)

    dW[v] = sum of dy[n] over all n with i[n] = v      each row collects the gradient of all that read it

It is a matrix product with one-hot rows, written without the zeros. The row `padding_idx` gets no gradient.
Cost: forward copies N D numbers, backward adds as many into V D zeros; saves the indices.
Source: Bengio et al. 2003, A neural probabilistic language model, section 2 (the shared table C).
"""

from typing import Any

import torch
from torch import Tensor, nn

from ._function import Function, expect, expect_alike, may_overwrite
from ._module import takes_only
from ._values import expect_indices


class EmbeddingFunction(Function):
    """The look-up above, of a flat list of indices (N)."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(indices: Tensor, weight: Tensor, padding_idx: int | None) -> Tensor:
        return weight.index_select(0, indices)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        indices, weight, ctx.padding_idx = inputs
        ctx.save_for_backward(indices)
        ctx.save_for_forward(indices)
        ctx.num_rows = weight.shape[0]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (indices,) = ctx.saved_tensors
        if ctx.padding_idx is not None:
            dy = dy.masked_fill((indices == ctx.padding_idx)[:, None], 0)
        dweight = dy.new_zeros(ctx.num_rows, dy.shape[1])
        if may_overwrite(dy):
            return None, dweight.index_add_(0, indices, dy), None
        return None, dweight.index_add(0, indices, dy), None

    @staticmethod
    def tangent(ctx: Any, _: None, weight_dot: Tensor, __: None) -> Any:
        (indices,) = ctx.saved_tensors
        y_dot = weight_dot.index_select(0, indices)
        if ctx.padding_idx is not None:
            y_dot = y_dot.masked_fill((indices == ctx.padding_idx)[:, None], 0)
        return y_dot


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return rows (..., D) of weight (V, D) by indices (...), int64 or int32 in [0, V).

    The row `padding_idx` (negative: counted from the end) is read but gets no gradient. Raises ValueError
    where shapes or dtypes do not fit, and on the CPU where an index lies outside the table.
    """
    indices = input
    for name, asked in (
        ("max_norm", max_norm),
        ("scale_grad_by_freq", scale_grad_by_freq),
        ("sparse", sparse),
    ):
        expect(asked is None or asked is False, "embedding", f"no {name}", asked)
    expect(weight.dim() == 2, "embedding", "weight (V, D)", weight)
    expect_alike("embedding", weight=weight)
    num_rows = weight.shape[0]
    integer = indices.dtype in (torch.int64, torch.int32)
    expect(integer, "embedding", "indices of dtype int64 or int32", indices.dtype)
    if padding_idx is not None:
        expect(-num_rows <= padding_idx < num_rows, "embedding", f"padding_idx below {num_rows}", padding_idx)
        padding_idx %= num_rows
    expect_indices("embedding", indices, num_rows)
    y: Tensor = EmbeddingFunction.apply(indices.reshape(-1), weight, padding_idx)
    return y.view(*indices.shape, weight.shape[1])


@takes_only(max_norm=None, scale_grad_by_freq=False, sparse=False)
class Embedding(nn.Embedding):
    """As torch.nn.Embedding, with the gradient above; all rows of weight are kept as they are."""

    def forward(self, input: Tensor) -> Tensor:
        return embedding(input, self.weight, self.padding_idx)
