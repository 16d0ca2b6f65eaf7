"""Attention and the embedding: what turns tokens into vectors and lets them read each other."""

import torch
import torch.nn.functional as F

from ..attention import scaled_dot_product_attention
from ..embedding import embedding
from ._entry import Draw, Inputs, Layer, bench, kink, module, real, tiny


def _qkv(*shape: int, num_keys: int | None = None) -> Inputs:
    """Draw q (..., L, E) and k, v (..., S, E)."""
    *batch, length, size = shape
    keys = (*batch, num_keys or length, size)
    return lambda d: [d(*shape), d(*keys), d(*keys)]


def _masked(d: Draw) -> list[torch.Tensor | None]:
    """Let every query read at least its first key."""
    mask = d.bits(3, 4)
    mask[:, 0] = True
    return [d(2, 2, 3, 2), d(2, 2, 4, 2), d(2, 2, 4, 3), mask]


LAYERS = [
    Layer(
        "embedding",
        embedding,
        F.embedding,
        samples=[
            tiny("a sequence", lambda d: [d.classes(7, 5), d(7, 4)]),
            tiny("two batch axes, int32", lambda d: [d.classes(7, 2, 3).int(), d(7, 4)]),
            kink("a padding row", lambda d: [d.classes(3, 2, 5), d(3, 4)], padding_idx=-2),
            real("tokens", lambda d: [d.classes(50, 4, 17), d(50, 32)]),
            bench("32x65 of 30522x256", lambda d: [d.classes(30522, 32, 65), d(30522, 256)]),
        ],
        modules=[
            module("Embedding", lambda d: [d.classes(7, 2, 3)], 7, 4),
            module("Embedding", lambda d: [d.classes(7, 2, 3)], 7, 4, padding_idx=1),
        ],
        rejects=[
            (lambda d: [d.classes(9, 5) + 3, d(7, 4)], {}),
            (lambda d: [d.classes(7, 5) - 7, d(7, 4)], {}),
            (lambda d: [d(5), d(7, 4)], {}),
            (lambda d: [d.classes(7, 5), d(7)], {}),
            (lambda d: [d.classes(7, 5), d(7, 4)], {"padding_idx": 7}),
        ],
    ),
    Layer(
        "scaled_dot_product_attention",
        scaled_dot_product_attention,
        F.scaled_dot_product_attention,
        samples=[
            tiny("heads", _qkv(2, 2, 2, 3, num_keys=3)),
            tiny("causal", _qkv(2, 1, 4, 3), is_causal=True),
            tiny("causal, more queries than keys", _qkv(2, 1, 4, 2, num_keys=2), is_causal=True),
            tiny("one head without an axis, scale", _qkv(2, 3, 2, num_keys=4), scale=0.3),
            tiny("two batch axes", _qkv(2, 1, 2, 2, 3)),
            tiny(
                "a key's head for two",
                lambda d: [d(1, 4, 2, 3), d(1, 2, 3, 3), d(1, 2, 3, 2)],
                enable_gqa=True,
            ),
            real("heads, tokens", _qkv(2, 3, 33, 8)),
            bench("ViT heads 32x3x65x64", _qkv(32, 3, 65, 64)),
            bench("ViT heads 8x12x197x64", _qkv(8, 12, 197, 64)),
            bench("long 1x8x1024x64", _qkv(1, 8, 1024, 64)),
            bench("long, causal 1x8x1024x64", _qkv(1, 8, 1024, 64), is_causal=True),
        ],
        rejects=[
            (lambda d: [d(2, 3, 4), d(2, 5, 3), d(2, 5, 4)], {}),
            (lambda d: [d(2, 3, 4), d(2, 5, 4), d(2, 4, 4)], {}),
            (lambda d: [d(2, 3, 4), d(3, 5, 4), d(3, 5, 4)], {}),
            (lambda d: [d(4), d(5, 4), d(5, 4)], {}),
            (lambda d: [d(2, 3, 4), d(2, 5, 4).float(), d(2, 5, 4)], {}),
            (lambda d: [d(1, 3, 2, 4), d(1, 2, 5, 4), d(1, 2, 5, 4)], {"enable_gqa": True}),
            (lambda d: [d(2, 3, 4), d(2, 5, 4), d(2, 5, 4)], {"dropout_p": 1.5}),
            (lambda d: [d(2, 3, 4), d(2, 5, 4), d(2, 5, 4), d.bits(3, 5)], {"is_causal": True}),
            (lambda d: [d(2, 3, 4), d(2, 5, 4), d(2, 5, 4), d.bits(5, 3)], {}),
            (lambda d: [d(2, 3, 4), d(2, 5, 4), d(2, 5, 4), d.classes(2, 3, 5)], {}),
        ],
        batched=(0, 1, 2),
    ),
    Layer(
        "masked attention",
        scaled_dot_product_attention,
        F.scaled_dot_product_attention,
        samples=[
            tiny("boolean mask", _masked),
            tiny("added mask", lambda d: [d(2, 2, 3, 2), d(2, 2, 4, 2), d(2, 2, 4, 3), d(3, 4)]),
            tiny("added mask a key", lambda d: [d(2, 3, 4), d(2, 5, 4), d(2, 5, 3), d(5)]),
            real("heads, tokens", lambda d: [d(2, 3, 17, 8), d(2, 3, 33, 8), d(2, 3, 33, 8), d(3, 17, 33)]),
        ],
        batched=(0, 1, 2),
    ),
]
