"""The channels of one class: where each class has outputs of its own, those of the class that is there.

    x (N, C, K, *S) of C classes, K numbers each     c (N, *S) classes, or (N,) of whole maps     y (N, K, *S)

    y[n, k, s] = x[n, c[n, s], k, s]
    dx[n, c[n, s], k, s] = dy[n, k, s]               0 for every other class

Cost: forward and backward copy y, backward into zeros of x's size; saves c.
Source: Xiang et al. 2018, PoseCNN, section III-B (centre directions a class); He et al. 2017, Mask R-CNN,
section 3 (masks a class).
"""

from typing import Any

import torch
from torch import Tensor

from ._function import Function, expect, expect_alike
from ._values import expect_indices


class ClassChannelsFunction(Function):
    """y above, with classes c (N, *S) as they are."""

    autocast_dtype = "unchanged"

    @staticmethod
    def forward(x: Tensor, c: Tensor) -> Tensor:
        return x.gather(1, spread(c, x)).squeeze(1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, c = inputs
        ctx.num_classes = x.shape[1]
        ctx.save_for_backward(c)
        ctx.save_for_forward(c)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (c,) = ctx.saved_tensors
        dy = dy.unsqueeze(1)
        zeros = dy.new_zeros(dy.shape[0], ctx.num_classes, *dy.shape[2:])
        return zeros.scatter(1, spread(c, dy), dy), None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, _: Any) -> Any:
        (c,) = ctx.saved_tensors
        return x_dot.gather(1, spread(c, x_dot)).squeeze(1)


def spread(c: Tensor, x: Tensor) -> Tensor:
    """Return c as an index into axis 1 of x (N, C, K, *S): (N, 1, K, *S)."""
    return c[:, None, None].expand(x.shape[0], 1, *x.shape[2:])


def class_channels(x: Tensor, labels: Tensor) -> Tensor:
    """Return y (N, K, *S) of x (N, C, K, *S): of each place, or sample, the numbers of its own class.

    labels: int64 (N, *S), or (N,) for one class a sample, from 0 to C - 1. Raises ValueError where shapes or
    dtypes do not fit, and on the CPU for other labels.
    """
    name = "class_channels"
    expect(x.dim() >= 3, name, "x (N, C, K, ...)", x)
    expect_alike(name, x=x)
    expect(labels.dtype == torch.int64, name, "labels of dtype int64", labels.dtype)
    places = (len(x), *x.shape[3:])
    fits = labels.shape in (places, places[:1]) and labels.device == x.device
    expect(fits, name, f"labels {places} or {places[:1]}, on x's device", labels)
    expect_indices(name, labels, x.shape[1])
    if labels.shape != places:
        labels = labels.view(-1, *[1] * (x.dim() - 3)).expand(places)
    y: Tensor = ClassChannelsFunction.apply(x, labels)
    return y
