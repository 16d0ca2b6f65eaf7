"""L2 regulariser: weight decay written as a loss.

    y = strength / 2 * (|W_1|^2 + |W_2|^2 + ...)       W_i any shape, y ()

    dW_i = dy * strength * W_i                         each weight is pulled to zero in proportion

Cost: two FLOPs a weight each way; saves the weights (parameters: already kept).
Source: Stanford CS231n, linear classification: regularization.
"""

from typing import Any

import torch
from torch import Tensor

from .._function import Function, expect, expect_alike


class L2RegularizerFunction(Function):
    """The regulariser above."""

    autocast_dtype = torch.float32

    @staticmethod
    def forward(strength: float, *weights: Tensor) -> Tensor:
        return strength / 2 * sum((w.square().sum() for w in weights[1:]), weights[0].square().sum())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.strength, *weights = inputs
        ctx.save_for_backward(*weights)
        ctx.save_for_forward(*weights)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return None, *(dy * ctx.strength * w for w in ctx.saved_tensors)

    @staticmethod
    def tangent(ctx: Any, _: None, *weight_dots: Tensor) -> Any:
        products = [(w * w_dot).sum() for w, w_dot in zip(ctx.saved_tensors, weight_dots, strict=True)]
        return ctx.strength * sum(products[1:], products[0])


def l2_regularizer(*weights: Tensor, strength: float) -> Tensor:
    """Return strength / 2 times the sum of all squared weights, (). Raises ValueError without weights."""
    expect(len(weights) > 0, "l2_regularizer", "at least one tensor", "none")
    expect_alike("l2_regularizer", **{f"weights[{i}]": w for i, w in enumerate(weights)})
    y: Tensor = L2RegularizerFunction.apply(strength, *weights)
    return y
