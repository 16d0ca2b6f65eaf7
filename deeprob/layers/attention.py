"""Scaled dot-product attention, its memory linear in the sequence length.

    S = c Q K^T + M          Q (N, H, L, E)   K (N, H, S, E)   V (N, H, S, D)   M broadcasts to (N, H, L, S)
    P = softmax(S)           a row of P says how much a query takes from each key; c = 1 / sqrt(E)
    Y = (P o K') V           Y (N, H, L, D);  K' drops weights: 0, or 1 / (1 - p) where kept

    dV = (P o K')^T dY       the matrix product, from the right
    dP = K' o (dY V^T)       and from the left
    dS = P o (dP - (P o dP) 1)                  softmax: each row less its own weighted mean
    dQ = c dS K,  dK = c dS^T Q,  dM = dS       the matrix product again; dM is summed where M was broadcast

A masked entry has M = -inf, hence P = 0 and no gradient; a row with no key left gives Y = 0, as in torch.
P has L S entries a head and is never stored: backward computes it again from Q and K, a block of rows at a
time (_attention_blocks.py), and K' too, which is a hash of a seed and the position.
On the CPU half precision is widened inside: the loops are float32's, and S rounded would be off by more
than P may be.
Faster forms, without dropout: kernels/heads.py.
Cost: forward 2 L S (E + D) FLOPs a head, backward 2 L S (3 E + 2 D); saves Q, K, V (and M).
Source: Vaswani et al. 2017, equation 1; Dao et al. 2022, FlashAttention, appendix B.2 (backward).
"""

import math
from typing import Any

import torch
from torch import Tensor

from ._attention_blocks import Block, Options, backward_by_blocks, forward_by_blocks
from ._fast import or_faster
from ._function import Function, expect, expect_alike, narrowed
from ._function import wide_on_cpu as wide
from .kernels import heads as fast
from .softmax import through_softmax


class AttentionFunction(Function):
    """The attention above, of Y as (N, L, H, D): side by side, the heads are merged without a copy.

    `seed` () int64 decides which weights are dropped, None: none.
    """

    @staticmethod
    def forward(
        q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None, options: Options
    ) -> Tensor:
        return narrowed(attention(wide(q), wide(k), wide(v), wide(mask), seed, options), q)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.options = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        q, k, v, mask, seed = ctx.saved_tensors
        given = (wide(dy.transpose(1, 2)), wide(q), wide(k), wide(v), wide(mask), seed, ctx.options)
        dmask = None
        if ctx.needs_input_grad[3]:
            dq, dk, dv, dmask = attention_and_mask_backward(*given)
        else:
            dq, dk, dv = attention_backward(*given)
        return *(None if g is None else narrowed(g, q) for g in (dq, dk, dv, dmask)), None, None

    @staticmethod
    def tangent(
        ctx: Any, q_dot: Tensor, k_dot: Tensor, v_dot: Tensor, mask_dot: Tensor | None, *_: Any
    ) -> Any:
        *tensors, seed = ctx.saved_tensors
        q, k, v, mask = (wide(t) for t in tensors)
        q_dot, k_dot, v_dot = (wide(t) for t in (q_dot, k_dot, v_dot))
        whole = Block.whole(q, k)
        p = weights(q, k, mask, ctx.options, whole)
        s_dot = ctx.options.scale * (q_dot @ k.mT + q @ k_dot.mT)
        s_dot = s_dot if mask_dot is None else s_dot + mask_dot
        p_dot = through_softmax(p, s_dot, -1)
        kept = keep(seed, p, ctx.options, whole)
        y_dot = ((p_dot * kept) @ v + (p * kept) @ v_dot).transpose(1, 2).contiguous()
        return narrowed(y_dot, tensors[0])


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    options: Options,
    block: Block,
) -> Tensor:
    """Y of one block of queries."""
    p = weights(q, k, mask, options, block)
    return (p if seed is None else p * keep(seed, p, options, block)) @ v


def attend_backward(
    dy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    options: Options,
    block: Block,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """dQ, dK, dV and dS of one block of queries, from the weights computed again."""
    p = weights(q, k, mask, options, block)
    dp = dy @ v.mT
    if seed is None:
        dv = p.mT @ dy
    else:
        kept = keep(seed, p, options, block)
        dv, dp = (p * kept).mT @ dy, dp * kept
    ds = through_softmax(p, dp, -1)
    dq, dk = options.scale * (ds @ k), options.scale * (ds.mT @ q)
    return dq, dk, dv, ds


def weights(q: Tensor, k: Tensor, mask: Tensor | None, options: Options, block: Block) -> Tensor:
    """P of one block of queries."""
    s = (options.scale * q) @ k.mT
    if options.causal:
        i, j = block.positions(s)
        s = s.masked_fill(j > i, -math.inf)
    if mask is None:
        return s.softmax(-1)
    blind = (mask == -math.inf).all(-1, keepdim=True)  # no key is left: softmax would be 0 / 0
    return (s + mask).softmax(-1).masked_fill(blind, 0)


def keep(seed: Tensor | None, p: Tensor, options: Options, block: Block) -> Tensor:
    """K' of one block: 0 or 1 / (1 - p), by SplitMix64 (Steele et al. 2014) of the seed and the position."""
    if seed is None:
        return p.new_ones(())
    z = block.index(p) * -0x61C8864680B583EB + seed  # int64 wraps around, which the hash wants
    z = (z ^ (z >> 30 & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47  # >> copies the sign: mask the shifted-in bits
    z = (z ^ (z >> 27 & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    draw = (z >> 40 & 0xFFFFFF).to(torch.float32) / (1 << 24)  # uniform in [0, 1)
    return (draw >= options.dropout).to(p.dtype) / max(1 - options.dropout, 1e-9)


@or_faster(fast.attention, fast.ATTENTION, products=True)
def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None, options: Options
) -> Tensor:
    """Return Y as (N, L, H, D)."""
    return forward_by_blocks(attend, q, k, v, mask, seed, options)


@or_faster(fast.attention_backward, fast.BACKWARD, products=True)
def attention_backward(
    dy: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dQ, dK and dV of dY (N, H, L, D)."""
    dq, dk, dv, _ = backward_by_blocks(attend_backward, dy, q, k, v, mask, seed, options, False)
    return dq, dk, dv


def attention_and_mask_backward(
    dy: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None, options: Options
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return dQ, dK, dV and dM."""
    return backward_by_blocks(attend_backward, dy, q, k, v, mask, seed, options, True)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(c Q K^T + M) V (..., L, D) of query (..., L, E), key (..., S, E) and value (..., S, D).

    attn_mask broadcasts to (..., L, S): True where a query may read a key, or a number added to S.
    dropout_p drops weights, training or not; scale None: 1 / sqrt(E). Leading axes broadcast; with enable_gqa
    each head of key and value serves as many heads of query, side by side, as there are more of them.
    Raises ValueError where shapes, dtypes or devices do not fit.
    """
    name = "scaled_dot_product_attention"
    expect(query.dim() >= 2, name, "query (..., L, E)", query)
    if enable_gqa:
        key, value = (for_heads(x, query) for x in (key, value))
    query, key, value = of_one_batch(query, key, value)
    *batch, num_queries, size = query.shape
    shape = ", ".join(str(n) for n in batch)
    fits = key.dim() == query.dim() and [*key.shape[:-2], key.shape[-1]] == [*batch, size]
    expect(fits, name, f"key ({shape}, S, {size})", key)
    fits = value.dim() == query.dim() and value.shape[:-1] == key.shape[:-1]
    expect(fits, name, f"value ({shape}, {key.shape[-2]}, D)", value)
    expect(0 <= dropout_p <= 1, name, "dropout_p in [0, 1]", dropout_p)
    expect_alike(name, query=query, key=key, value=value)
    mask = None
    if attn_mask is not None:
        expect(not is_causal, name, "attn_mask or is_causal", "both")
        mask = _four_axes(_additive(attn_mask, query), [*batch, num_queries, key.shape[-2]])
    seed = torch.randint(1 << 62, (), device=query.device) if dropout_p > 0 else None
    num_heads, num_samples = (batch[-1] if batch else 1), math.prod(batch[:-1])
    q, k, v = (x.reshape(num_samples, num_heads, *x.shape[-2:]) for x in (query, key, value))
    options = Options(1 / math.sqrt(size) if scale is None else scale, is_causal, dropout_p)
    y: Tensor = AttentionFunction.apply(q, k, v, mask, seed, options)
    return y.transpose(1, 2).reshape(*batch, num_queries, value.shape[-1])


def for_heads(x: Tensor, query: Tensor) -> Tensor:
    """Repeat each head of x (..., H', S, E), so that there are as many as of query (..., H, L, E)."""
    fits = query.dim() > 2 and x.dim() > 2 and query.shape[-3] % max(1, x.shape[-3]) == 0
    expect(fits, "scaled_dot_product_attention", f"heads that divide those of query {tuple(query.shape)}", x)
    return (
        x.unsqueeze(-3).expand(*x.shape[:-2], query.shape[-3] // x.shape[-3], *x.shape[-2:]).flatten(-4, -3)
    )


def of_one_batch(*tensors: Tensor) -> list[Tensor]:
    """Broadcast the leading axes of tensors (..., L, E), where they can be."""
    leading = [x.shape[:-2] for x in tensors]
    if all(shape == leading[0] for shape in leading):
        return list(tensors)
    try:
        batch = torch.broadcast_shapes(*leading)  # type: ignore[no-untyped-call]
    except RuntimeError:
        return list(tensors)  # to be refused with their shapes
    return [x.expand(*batch, *x.shape[-2:]) for x in tensors]


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """Turn True into 0 and False into -inf."""
    if mask.dtype == torch.bool:
        zero = torch.zeros((), dtype=like.dtype, device=like.device)
        return torch.where(mask, zero, -math.inf)
    expect_alike("scaled_dot_product_attention", query=like, attn_mask=mask)
    return mask


def _four_axes(mask: Tensor, shape: list[int]) -> Tensor:
    """View a mask that broadcasts to `shape` (..., H, L, S) as one that broadcasts to (N, H, L, S)."""
    padded = mask.reshape((1,) * (max(len(shape), 4) - mask.dim()) + mask.shape)
    target = (1,) * (4 - len(shape)) + tuple(shape)
    fits = padded.dim() == len(target) and all(i in (1, j) for i, j in zip(padded.shape, target, strict=True))
    expect(fits, "scaled_dot_product_attention", f"attn_mask to broadcast to {tuple(shape)}", mask)
    if any(size > 1 for size in padded.shape[:-3]):
        padded = padded.expand(*target[:-3], *padded.shape[-3:])
    return padded.flatten(0, -4)
