"""The attention half of a pre-norm transformer block: keeps x and the projections, and makes the rest again.

    y = x + W_o [A_1 ... A_H] + b_o      A_h = softmax(c Q_h K_h^T) V_h                 attention.py
    [Q K V] = W h + b                    h = layer_norm(x), Q_h the h-th E columns of Q      layer_norm.py

Layer by layer this keeps x, h, Q, K, V and A. Here h costs one pass to make again and A one small product, in
a backward that computes the softmax again in any case. The backward is that of the parts, in turn:

    dA = dy W_o,  dW_o = dy^T A          linear.py
    dQ, dK, dV of dA                     attention.py
    dh = [dQ dK dV] W,  dW = [dQ dK dV]^T h,  and dx through layer_norm, plus dy along the shortcut

x (N, L, D)   W (3 D, D)   W_o (D, D)   H heads of E = D / H columns   c = 1 / sqrt(E)
Cost: 2 N L (4 D^2 + 2 L D) FLOPs forward, backward twice that and 4 N L^2 D for S and A; saves x, Q, K, V.
Source: Vaswani et al. 2017, section 3.2.2; Chen et al., Training deep nets with sublinear memory cost (2016).
"""

import math
from typing import Any

import torch
from torch import Tensor

from .._attention_blocks import Block, Options
from .._fast import or_faster
from .._function import Function, expect, expect_alike, is_autocast_on, narrowed
from .._function import wide_on_cpu as wide
from ..attention import attend, attend_backward, attention, scaled_dot_product_attention, weights
from ..gates import add
from ..kernels import heads as fast
from ..layer_norm import layer_norm, layer_norm_backward, normalise_rows, standardise
from ..linear import linear, matmul_transposed, outer_sum
from ..softmax import through_softmax


class AttentionBlockFunction(Function):
    """The block above; Q, K, V (N L, 3 D) are an output too, so that they can be kept."""

    @staticmethod
    def forward(
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        w: Tensor,
        b: Tensor,
        w_out: Tensor,
        b_out: Tensor,
        heads: int,
        eps: float,
    ) -> tuple[Tensor, Tensor]:
        rows = x.reshape(-1, x.shape[2])
        qkv = matmul_transposed(normalise_rows(rows, scale, shift, eps), w, b)
        y = matmul_transposed(attend_heads(by_head(qkv, x, heads)), w_out, b_out)
        return y.add_(rows).view_as(x), qkv

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, scale, shift, w, _, w_out, _, ctx.heads, ctx.eps = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, scale, shift, w, w_out, output[1])
        ctx.save_for_forward(x, scale, shift, w, w_out, output[1])

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dqkv_outside: Tensor | None) -> Any:
        x, scale, shift, w, w_out, qkv = ctx.saved_tensors
        rows = x.reshape(-1, x.shape[2])
        dy = torch.zeros_like(rows) if dy is None else dy.reshape(rows.shape)
        da = matmul_transposed(dy, w_out.t())
        a, dqkv = attend_heads_backward(da, by_head(qkv, x, ctx.heads))
        dqkv = dqkv if dqkv_outside is None else dqkv + dqkv_outside
        dw_out, db_out = outer_sum(dy, a), dy.sum(0)
        dw, db = outer_sum(dqkv, normalise_rows(rows, scale, shift, ctx.eps)), dqkv.sum(0)
        dx, dscale, dshift = layer_norm_backward(matmul_transposed(dqkv, w.t()), rows, scale, ctx.eps)
        gradients = ((dx + dy).view(x.shape), dscale, dshift, dw, db, dw_out, db_out)
        needed = zip(gradients, ctx.needs_input_grad, strict=False)
        return *(g if need else None for g, need in needed), None, None

    @staticmethod
    def tangent(ctx: Any, *dots: Any) -> Any:
        x_dot, scale_dot, shift_dot, w_dot, b_dot, w_out_dot, b_out_dot, *_ = dots
        x, scale, shift, w, w_out, qkv = ctx.saved_tensors
        h, rstd = standardise(x.reshape(-1, x.shape[2]), ctx.eps)
        n_dot = torch.zeros_like(h)
        if x_dot is not None:
            x_dot = x_dot.reshape(h.shape)
            centred = x_dot - x_dot.mean(1, keepdim=True)
            n_dot = scale * rstd * (centred - h * (x_dot * h).mean(1, keepdim=True))
        n_dot = n_dot if scale_dot is None else n_dot + h * scale_dot
        n_dot = n_dot if shift_dot is None else n_dot + shift_dot
        qkv_dot = n_dot @ w.t()
        qkv_dot = qkv_dot if w_dot is None else qkv_dot + (h * scale + shift) @ w_dot.t()
        qkv_dot = qkv_dot if b_dot is None else qkv_dot + b_dot
        (q, k, v), (q_dot, k_dot, v_dot) = (by_head(t, x, ctx.heads).unbind() for t in (qkv, qkv_dot))
        whole, options = Block.whole(q, k), options_of(q)
        p = weights(q, k, None, options, whole)
        p_dot = through_softmax(p, options.scale * (q_dot @ k.mT + q @ k_dot.mT), -1)
        y_dot = merged(p_dot @ v + p @ v_dot) @ w_out.t()
        y_dot = y_dot if w_out_dot is None else y_dot + merged(p @ v) @ w_out_dot.t()
        y_dot = y_dot if b_out_dot is None else y_dot + b_out_dot
        return (y_dot if x_dot is None else y_dot + x_dot).reshape(x.shape), qkv_dot


def by_head(qkv: Tensor, x: Tensor, heads: int) -> Tensor:
    """View Q, K, V (N L, 3 D) as (3, N, H, L, E)."""
    return qkv.reshape(*x.shape[:2], 3, heads, x.shape[2] // heads).permute(2, 0, 3, 1, 4)


def merged(a: Tensor) -> Tensor:
    """Put the heads of A (N, H, L, E) side by side: (N L, D)."""
    num_samples, heads, length, size = a.shape
    return a.transpose(1, 2).reshape(num_samples * length, heads * size)


def options_of(q: Tensor) -> Options:
    """C = 1 / sqrt(E); nothing masked or dropped."""
    return Options(1 / math.sqrt(q.shape[-1]), False, 0.0)


def attend_heads(qkv: Tensor) -> Tensor:
    """Return A (N L, D) of Q, K, V (3, N, H, L, E)."""
    q, k, v = wide(qkv).unbind()
    a = attention(q, k, v, None, None, options_of(q))
    return narrowed(a.reshape(-1, q.shape[1] * q.shape[3]), qkv)


def attend_heads_backward(da: Tensor, qkv: Tensor) -> tuple[Tensor, Tensor]:
    """Return A and dQ, dK, dV, (N L, D) and (N L, 3 D), of dA (N L, D) and Q, K, V (3, N, H, L, E)."""
    _, num_samples, heads, length, size = qkv.shape
    upstream = wide(da).reshape(num_samples, length, heads, size).transpose(1, 2)
    a, dqkv = self_attention_backward(upstream, wide(qkv), options_of(qkv))
    dqkv = dqkv.reshape(num_samples * length, 3 * heads * size)
    return narrowed(a.reshape(da.shape), qkv), narrowed(dqkv, qkv)


@or_faster(fast.self_attention_backward, fast.SELF_BACKWARD, products=True)
def self_attention_backward(da: Tensor, qkv: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """Return A (N, L, H, E) again, and dQ, dK, dV (N, L, 3, H, E), of dA (N, H, L, E)."""
    q, k, v = qkv.unbind()
    whole = Block.whole(q, k)
    a = attend(q, k, v, None, None, options, whole).transpose(1, 2)
    dq, dk, dv, _ = attend_backward(da, q, k, v, None, None, options, whole)
    return a, torch.stack([dq, dk, dv]).permute(1, 3, 0, 2, 4)


def attention_block(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    w: Tensor,
    b: Tensor,
    w_out: Tensor,
    b_out: Tensor,
    heads: int,
    eps: float = 1e-5,
) -> Tensor:
    """Return x + W_o attention(W layer_norm(x) + b) + b_o, of x (N, L, D).

    scale, shift (D), w (3 D, D): W_q, W_k and W_v, b (3 D), w_out (D, D), b_out (D).
    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    name = "attention_block"
    expect(x.dim() == 3, name, "x (N, L, D)", x)
    width = x.shape[2]
    expect(heads > 0 and width % heads == 0, name, f"heads to divide {width}", heads)
    shapes = {"scale": (width,), "shift": (width,), "w": (3 * width, width), "b": (3 * width,)}
    shapes |= {"w_out": (width, width), "b_out": (width,)}
    given = {"scale": scale, "shift": shift, "w": w, "b": b, "w_out": w_out, "b_out": b_out}
    for what, shape in shapes.items():
        expect(given[what].shape == shape, name, f"{what} {shape}", given[what])
    expect_alike(name, x=x, **given)
    if is_autocast_on(x.device.type):  # its parts differ in the precision they need
        qkv = linear(layer_norm(x, (width,), scale, shift, eps), w, b)
        q, k, v = by_head(qkv, x, heads).unbind()
        a = scaled_dot_product_attention(q, k, v)
        return add(x, linear(a.transpose(1, 2).flatten(2), w_out, b_out))
    y: Tensor = AttentionBlockFunction.apply(x, scale, shift, w, b, w_out, b_out, heads, eps)[0]
    return y
