"""A transformer's MLP, which keeps its input and two thirds of its largest array.

    y = x + W2 gelu(u) + b2,  u = W1 h + b1,  h = layer_norm(x)      keeps x, 2/3 of u

The norm's output and the gate's are one pass away from x and u: here the backward makes them again; and u,
a transformer's largest array, for every third row, by one product more. The backward is that of the parts, in
turn.
Cost: as the parts, and in the backward one more pass over x and u, and a third of u's product.
Source: Rota Bulo, Porzi and Kontschieder, In-place activated batch norm (2018), section 3.
"""

from typing import Any

import torch
from torch import Tensor

from .._fast import or_faster
from .._function import Function, expect, expect_alike, is_autocast_on
from ..gates import add
from ..gelu import gelu, gelu_slope
from ..kernels import mlp_block as fast
from ..layer_norm import layer_norm, layer_norm_backward, normalise_rows, standardise
from ..linear import linear, matmul_transposed, outer_sum


class MLPBlockFunction(Function):
    """The MLP block of rows x (R, D), W1 (M, D), W2 (D, M); what is kept of u is an output too."""

    @staticmethod
    def forward(
        x: Tensor, scale: Tensor, shift: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        h, kept = normalise_rows(x, scale, shift, eps), num_kept(x)
        u = matmul_transposed(h[:kept], w1, b1)
        y = matmul_transposed(torch.nn.functional.gelu(u), w2, b2)
        rest = torch.nn.functional.gelu(matmul_transposed(h[kept:], w1, b1))
        return torch.cat([y, matmul_transposed(rest, w2, b2)]).add_(x), u

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, scale, shift, w1, b1, w2, _, ctx.eps = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, scale, shift, w1, b1, w2, output[1])
        ctx.save_for_forward(x, scale, shift, w1, b1, w2, output[1])

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, du_outside: Tensor | None) -> Any:
        x, scale, shift, w1, b1, w2, u = ctx.saved_tensors
        dy, kept = torch.zeros_like(x) if dy is None else dy, len(u)
        h = normalise_rows(x, scale, shift, ctx.eps)
        first = mlp_backward(dy[:kept], u, h[:kept], w1, w2, du_outside)
        last = mlp_backward(dy[kept:], matmul_transposed(h[kept:], w1, b1), h[kept:], w1, w2)
        dw1, db1, dw2 = (a + b for a, b in zip(first[1:], last[1:], strict=True))
        dx, dscale, dshift = layer_norm_backward(torch.cat([first[0], last[0]]), x, scale, ctx.eps)
        gradients = (dx + dy, dscale, dshift, dw1, db1, dw2, dy.sum(0))
        return *(g if need else None for g, need in zip(gradients, ctx.needs_input_grad, strict=False)), None

    @staticmethod
    def tangent(ctx: Any, *dots: Any) -> Any:
        x_dot, scale_dot, shift_dot, w1_dot, b1_dot, w2_dot, b2_dot, _ = dots
        x, scale, shift, w1, b1, w2, u = ctx.saved_tensors
        h, rstd = standardise(x, ctx.eps)
        n_dot = torch.zeros_like(x)
        if x_dot is not None:
            centred = x_dot - x_dot.mean(1, keepdim=True)
            n_dot = scale * rstd * (centred - h * (x_dot * h).mean(1, keepdim=True))
        n_dot = n_dot if scale_dot is None else n_dot + h * scale_dot
        n_dot = n_dot if shift_dot is None else n_dot + shift_dot
        u_dot = n_dot @ w1.t()
        u_dot = u_dot if w1_dot is None else u_dot + (h * scale + shift) @ w1_dot.t()
        u_dot = u_dot if b1_dot is None else u_dot + b1_dot
        kept = len(u)
        u = torch.cat([u, matmul_transposed(h[kept:] * scale + shift, w1, b1)])
        y_dot = (gelu_slope(u) * u_dot) @ w2.t()
        y_dot = y_dot if w2_dot is None else y_dot + torch.nn.functional.gelu(u) @ w2_dot.t()
        y_dot = y_dot if b2_dot is None else y_dot + b2_dot
        return y_dot if x_dot is None else y_dot + x_dot, u_dot[:kept]


def num_kept(x: Tensor) -> int:
    """Count the rows of x whose u is kept: two of three."""
    return len(x) - len(x) // 3


def mlp_backward(
    dy: Tensor, u: Tensor, h: Tensor, w1: Tensor, w2: Tensor, du_outside: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return dh, dW1, db1 and dW2 of some rows."""
    g, du, db1 = gelu_both_ways(matmul_transposed(dy, w2.t()), u)
    if du_outside is not None:
        du, db1 = du + du_outside, db1 + du_outside.sum(0)
    return matmul_transposed(du, w1.t()), outer_sum(du, h), db1, outer_sum(dy, g)


@or_faster(fast.gelu_both_ways)
def gelu_both_ways(dg: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return g = gelu(u), du, and the sum of du over rows. Nobody may read dg afterwards."""
    du = dg * gelu_slope(u)
    return torch.nn.functional.gelu(u), du, du.sum(0)


def mlp_block(
    x: Tensor, scale: Tensor, shift: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, eps: float = 1e-5
) -> Tensor:
    """Return x + W2 gelu(W1 layer_norm(x) + b1) + b2 of x (..., D), scale, shift (D), W1 (M, D), W2 (D, M).

    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    name, (wide, width) = "mlp_block", w1.shape
    expect(x.dim() >= 1 and x.shape[-1] == width, name, f"x (..., {width})", x)
    shapes = {"scale": (width,), "shift": (width,), "b1": (wide,), "w2": (width, wide), "b2": (width,)}
    given = {"scale": scale, "shift": shift, "b1": b1, "w2": w2, "b2": b2}
    for what, shape in shapes.items():
        expect(given[what].shape == shape, name, f"{what} {shape}", given[what])
    expect_alike(name, x=x, w1=w1, **given)
    if is_autocast_on(x.device.type):  # its parts differ in the precision they need
        h = layer_norm(x, (width,), scale, shift, eps)
        return add(x, linear(gelu(linear(h, w1, b1)), w2, b2))
    y: Tensor = MLPBlockFunction.apply(x.reshape(-1, width), scale, shift, w1, b1, w2, b2, eps)[0]
    return y.reshape(x.shape)
