"""Taking rows: the positives of a dense head, the tokens that are kept.

    y[k] = x[i[k], j[k], ...]        x (A, B, ..., *rest)   i, j, ... (*K) integers   y (*K, *rest)

    dx[a, b, ...] = sum of dy[k] over all k with i[k] = a, j[k] = b, ...

A row that is taken twice collects both gradients; one that is not taken gets zero. Several axes of indices
are one: x[i, j] is row i B + j of x seen as (A B, *rest). Then it is the look-up of embedding.py.
Cost: forward copies y, backward adds as many numbers into zeros of x's size; saves the indices.
Source: He et al. 2021, Masked autoencoders, section 3 (an encoder of the visible patches alone).
"""

import torch
from torch import Tensor

from ._function import expect, expect_alike
from ._values import expect_indices
from .embedding import EmbeddingFunction


def take_rows(x: Tensor, *indices: Tensor) -> Tensor:
    """Return x[i, j, ...] (*K, *rest) by indices (*K) alike, int64 or int32, into x's first axes.

    A mask's rows are `take_rows(x, *mask.nonzero(as_tuple=True))`. Raises ValueError where shapes or dtypes
    do not fit, and on the CPU where an index lies outside its axis; negative ones do.
    """
    name, num_axes = "take_rows", len(indices)
    expect(0 < num_axes <= x.dim(), name, "as many indices as x has axes, or fewer", num_axes)
    expect_alike(name, x=x)
    for i, size in zip(indices, x.shape, strict=False):
        expect(i.dtype in (torch.int64, torch.int32), name, "indices of dtype int64 or int32", i.dtype)
        expect(i.shape == indices[0].shape and i.device == x.device, name, "indices alike, on x's device", i)
        expect_indices(name, i, size)
    rows = indices[0].long()
    for i, size in zip(indices[1:], x.shape[1:], strict=False):
        rows = rows * size + i
    rest = x.shape[num_axes:]
    table = x.reshape(x.shape[:num_axes].numel(), rest.numel())
    y: Tensor = EmbeddingFunction.apply(rows.reshape(-1), table, None)
    return y.view(*rows.shape, *rest)
