"""The faster forms of attention without dropout, by the loops of attention.py; None where they cannot run."""

from torch import Tensor

from .._attention_blocks import Options
from .._function import is_plain
from .attention import backward, backward_of_self_attention, forward
from .opaque import Operation, Result


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None, options: Options
) -> Tensor | None:
    """Return Y as (N, L, H, D)."""
    if seed is not None or not is_plain(q, k, v, mask):
        return None
    return forward(q, k, v, mask, options.scale, options.causal)


def attention_backward(
    dy: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None, options: Options
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return dQ, dK and dV of dY (N, H, L, D)."""
    if seed is not None or not is_plain(dy, q, k, v, mask):
        return None
    return backward(dy, q, k, v, mask, options.scale, options.causal)


def self_attention_backward(da: Tensor, qkv: Tensor, options: Options) -> tuple[Tensor, Tensor] | None:
    """Return A (N, L, H, E) again, and dQ, dK, dV (N, L, 3, H, E)."""
    return backward_of_self_attention(da, qkv, options.scale) if is_plain(da, qkv) else None


def describe_self(da: Tensor, qkv: Tensor, options: Options) -> list[Result]:
    """Describe A and dQ, dK, dV."""
    num_samples, heads, length, size = da.shape
    return [Result([num_samples, length, heads, size]), Result([num_samples, length, 3, heads, size])]


ATTENTION = Operation(
    "attention",
    lambda q, k, v, *_: [Result([q.shape[0], q.shape[2], q.shape[1], v.shape[3]])],
    lambda q, k, v, mask, seed, options: seed is None,
)
BACKWARD = Operation(
    "attention_backward",
    lambda dy, q, k, v, *_: [Result(q.shape), Result(k.shape), Result(v.shape)],
    lambda dy, q, k, v, mask, seed, options: seed is None,
)
SELF_BACKWARD = Operation("self_attention_backward", describe_self)
