"""How a loss is reduced over its elements: "mean", "sum" or "none", as in torch."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from .._function import expect

Reduction = Literal["mean", "sum", "none"]


def reduce(loss: Tensor, reduction: Reduction) -> Tensor:
    """Return the mean () or the sum () of the elements, or the elements."""
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def per_element(dy: Tensor, reduction: Reduction, count: int) -> Tensor:
    """Return the gradient of each of `count` elements: dy, a mean's divided by their number. Broadcasts."""
    return dy / max(count, 1) if reduction == "mean" else dy


def mean_of(total: Tensor, count: Tensor) -> Tensor:
    """Return total / count: of nothing NaN, as in torch, yet with a gradient of zero and not of 0 / 0."""
    some = count != 0
    return torch.where(some, total / torch.where(some, count, 1), torch.nan)


def expect_reduction(layer: str, reduction: str) -> None:
    """Raise ValueError for any other word."""
    expect(reduction in ("mean", "sum", "none"), layer, "reduction 'mean', 'sum' or 'none'", repr(reduction))


def expect_weight(layer: str, weight: Tensor | None, shape: Sequence[int], name: str = "weight") -> None:
    """Raise ValueError unless the weight of each element, where there is one, broadcasts to `shape`."""
    if weight is not None:
        sizes = zip(weight.shape[::-1], shape[::-1], strict=False)
        fits = weight.dim() <= len(shape) and all(i in (1, j) for i, j in sizes)
        expect(fits, layer, f"{name} to broadcast to {tuple(shape)}", weight)
