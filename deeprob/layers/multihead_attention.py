"""Multi-head attention: several attentions side by side, each on its own projection of the input.

    Q = query W_q^T + b_q,  K = key W_k^T + b_k,  V = value W_v^T + b_v      W (E, E), b (E): linear.py
    Y_h = attention of Q_h, K_h, V_h, the h-th E / H columns of each         attention.py
    y = [Y_1 ... Y_H] W_o^T + b_o

    query (N, L, E)    key (N, S, E_k)    value (N, S, E_v)    y (N, L, E)

It has no gradient of its own: cutting into heads and merging them are views. In self-attention the three
projections are one product, and the gradients of Q, K and V lie as that product's backward reads them.
Source: Vaswani et al. 2017, section 3.2.2.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ._function import expect
from .attention import scaled_dot_product_attention
from .concat import concat
from .dropout import dropout
from .gates import add, mul
from .linear import Linear, linear
from .matmul import matmul
from .softmax import softmax


class MultiheadAttention(nn.MultiheadAttention):
    """As torch.nn.MultiheadAttention."""

    bias_k: Any
    bias_v: Any
    in_proj_weight: Any
    in_proj_bias: Any
    out_proj: Any

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        name = "MultiheadAttention"
        expect(
            num_heads > 0 and embed_dim % num_heads == 0, name, f"num_heads to divide {embed_dim}", num_heads
        )
        super().__init__(
            embed_dim,
            num_heads,
            dropout,
            bias,
            add_bias_kv,
            add_zero_attn,
            kdim,
            vdim,
            batch_first,
            device,
            dtype,
        )
        theirs = self.out_proj
        self.out_proj = Linear(embed_dim, embed_dim, bias, device="meta")
        self.out_proj.weight, self.out_proj.bias = theirs.weight, theirs.bias

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return y, shaped as query, and the weights: averaged (N, L, S), of each head (N, H, L, S), or None.

        Without batch_first the axes are (L, N, E); without a batch (L, E). In a mask True means: do not read;
        numbers are added to the scores. key_padding_mask (N, S), attn_mask (L, S) or (N H, L, S). is_causal:
        no query reads a later key. With need_weights=False memory is linear in L + S.
        """
        rank = query.dim()
        expect(rank in (2, 3), "MultiheadAttention", "query (N, L, E) or (L, E)", query)
        expect(key.dim() == rank, "MultiheadAttention", f"key with {rank} axes", key)
        expect(value.dim() == rank, "MultiheadAttention", f"value with {rank} axes", value)
        itself = query is key and key is value
        query, key, value = (self._batch_first(x) for x in (query, key, value))
        q, k, v = (
            self._heads_of_one(query)
            if itself and self.in_proj_weight is not None
            else self._heads(query, key, value)
        )
        dropped = self.dropout if self.training else 0.0
        causal = is_causal and attn_mask is None
        if key_padding_mask is not None and key_padding_mask.dim() == 1:
            key_padding_mask = key_padding_mask[None]
        more_keys = self.bias_k is not None or self.add_zero_attn
        written = causal and (need_weights or more_keys or key_padding_mask is not None)
        mask = merged_mask(q, k, key_padding_mask, attn_mask, written)
        if more_keys:
            k, v, mask = self._with_more_keys(k, v, mask)
        weights = None
        if need_weights:
            weights = self._weights(q, k, mask)
            weights = dropout(weights, dropped) if dropped > 0 else weights
            y = matmul(weights, v)
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights if rank == 3 else weights.squeeze(0)
        else:
            y = scaled_dot_product_attention(q, k, v, mask, dropped, causal and mask is None)
        y = self.out_proj(y.transpose(1, 2).flatten(2))
        return y.squeeze(0) if rank == 2 else y if self.batch_first else y.transpose(0, 1), weights

    def _batch_first(self, x: Tensor) -> Tensor:
        return x.unsqueeze(0) if x.dim() == 2 else x if self.batch_first else x.transpose(0, 1)

    def _heads_of_one(self, x: Tensor) -> tuple[Tensor, ...]:
        """Q, K, V (N, H, L, E / H) of self-attention, by one product."""
        qkv = linear(x, self.in_proj_weight, self.in_proj_bias).reshape(*x.shape[:2], 3, self.num_heads, -1)
        return tuple(part.transpose(1, 2) for part in qkv.unbind(2))

    def _heads(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Q, K, V (N, H, L or S, E / H), each by its own product."""
        if self.in_proj_weight is not None:
            weights: tuple[Any, ...] = self.in_proj_weight.reshape(3, self.embed_dim, -1).unbind()
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.reshape(3, -1).unbind()
        projected = (linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True))
        return tuple(x.reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2) for x in projected)

    def _with_more_keys(
        self, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Append keys that every query may read: the learned bias_k, with its value bias_v, and a zero."""
        num_samples, num_heads, _, size = k.shape
        pairs = [] if self.bias_k is None else [(self.bias_k, self.bias_v)]
        if self.add_zero_attn:
            pairs.append((k.new_zeros(1, 1, self.embed_dim),) * 2)
        for key, value in pairs:
            key, value = (x.reshape(1, num_heads, 1, size) for x in (key, value))
            k, v = (concat([x, row.expand(num_samples, -1, -1, -1)], 2) for x, row in ((k, key), (v, value)))
        if mask is not None:
            mask = concat([mask, mask.new_zeros(*mask.shape[:-1], len(pairs))], 3)
        return k, v, mask

    def _weights(self, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
        """P (N, H, L, S), kept."""
        scale = torch.full((), 1 / math.sqrt(q.shape[-1]), dtype=q.dtype, device=q.device)
        scores = matmul(mul(q, scale), k.mT)
        return softmax(scores if mask is None else add(scores, mask.to(scores.dtype)), -1)


def merged_mask(
    q: Tensor, k: Tensor, key_padding_mask: Tensor | None, attn_mask: Tensor | None, causal: bool
) -> Tensor | None:
    """Add up the masks there are to one that broadcasts to (N, H, L, S): 0 or a number, -inf not to read."""
    num_samples, num_heads, num_queries, _ = q.shape
    num_keys, masks = k.shape[2], []
    for name, mask in (("key_padding_mask", key_padding_mask), ("attn_mask", attn_mask)):
        if mask is not None:
            fits = mask.dtype == torch.bool or mask.is_floating_point()
            expect(fits, "MultiheadAttention", f"{name} of torch.bool, or of a floating dtype", mask.dtype)
    if key_padding_mask is not None:
        expected = (num_samples, num_keys)
        expect(
            key_padding_mask.shape == expected,
            "MultiheadAttention",
            f"key_padding_mask {expected}",
            key_padding_mask,
        )
        masks.append(key_padding_mask[:, None, None])
    if attn_mask is not None:
        known = ((num_queries, num_keys), (num_samples * num_heads, num_queries, num_keys))
        expect(
            attn_mask.shape in known, "MultiheadAttention", f"attn_mask {known[0]} or {known[1]}", attn_mask
        )
        masks.append(attn_mask.reshape(-1, num_heads if attn_mask.dim() == 3 else 1, num_queries, num_keys))
    if causal:
        masks.append(torch.ones(num_queries, num_keys, dtype=torch.bool, device=q.device).triu(1)[None, None])
    zero = torch.zeros((), dtype=q.dtype, device=q.device)
    added = [torch.where(m, -math.inf, zero) if m.dtype == torch.bool else m.to(q.dtype) for m in masks]
    return sum(added[1:], added[0]) if added else None
