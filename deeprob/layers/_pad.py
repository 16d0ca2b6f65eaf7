"""Zeros around a map, more on one side than on the other if need be: convolution takes them on both alike."""

from typing import Any

from torch import Tensor, nn

from ._function import Function


class PadFunction(Function):
    """Zeros around a map; the gradient is what lies inside."""

    autocast_dtype = "widest"

    @staticmethod
    def forward(x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
        return nn.functional.pad(x, (left, right, top, bottom))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, *ctx.margins = inputs
        ctx.height, ctx.width = x.shape[-2:]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        left, _, top, _ = ctx.margins
        return dy[..., top : top + ctx.height, left : left + ctx.width], None, None, None, None

    @staticmethod
    def tangent(ctx: Any, x_dot: Tensor, *_: Any) -> Any:
        return nn.functional.pad(x_dot, tuple(ctx.margins))
