"""Which entries of the attention weights P (N, H, L, S) are computed at a time.

Attention needs a softmax over whole rows of P and nothing between rows, so P is cut into blocks of rows that
fit the cache and are forgotten after use: memory grows with L + S, not with L S.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._function import may_overwrite

BLOCK = 1 << 18  # entries of P in a block: 1 MB in float32
BLOCK_ON_GPU = 1 << 26  # there a block is a launch or ten, and wants to fill the device: 256 MB


class Options(NamedTuple):
    """scale: c; causal: query i reads the keys j <= i only; dropout: the share p of weights dropped."""

    scale: float
    causal: bool
    dropout: float


@dataclass(frozen=True)
class Block:
    """Some rows of P: `queries` slices its axes (N, H, L), and the first num_keys keys are read.

    `shape` is that of the whole P; `entries` is about how many a block of its own has.
    """

    queries: tuple[slice, slice, slice]
    num_keys: int
    shape: tuple[int, int, int, int]
    entries: int = BLOCK

    @classmethod
    def whole(cls, q: Tensor, k: Tensor) -> "Block":
        """All of P."""
        num_samples, num_heads, num_queries = q.shape[:3]
        shape = (num_samples, num_heads, num_queries, k.shape[2])
        everything = (slice(0, num_samples), slice(0, num_heads), slice(0, num_queries))
        return cls(everything, shape[3], shape, BLOCK_ON_GPU if q.is_cuda else BLOCK)

    def split(self, causal: bool) -> Iterator["Block"]:
        """Cut P into blocks of about `entries` entries: rows, whole heads, or whole samples, as they fit.

        causal: no row of a block reads a key beyond the block's last row.
        """
        size, cuts = max(1, self.shape[3]), []
        entries = self.entries // (2 if causal else 1)  # fewer rows: less is computed beyond the diagonal
        for extent in self.shape[2::-1]:
            step = max(1, min(extent, entries // size))
            cuts.append([slice(i, min(i + step, extent)) for i in range(0, extent, step)])
            size *= step
        for samples, heads, rows in itertools.product(*cuts[::-1]):
            num_keys = min(rows.stop, self.shape[3]) if causal else self.shape[3]
            yield Block((samples, heads, rows), num_keys, self.shape)

    @property
    def extent(self) -> tuple[int, int, int]:
        """How many heads of all samples, rows and keys the block has."""
        samples, heads, rows = (cut.stop - cut.start for cut in self.queries)
        return samples * heads, rows, self.num_keys

    @property
    def keys(self) -> tuple[slice, slice, slice]:
        """Where in K and V the block's keys lie."""
        return (*self.queries[:2], slice(0, self.num_keys))

    def of_mask(self, mask: Tensor | None) -> Any:
        """View the block's part of a mask, along the axes that are not broadcast."""
        if mask is None:
            return None
        cuts = (*self.queries, slice(0, self.num_keys))
        return mask[
            tuple(cut if size > 1 else slice(None) for cut, size in zip(cuts, mask.shape, strict=True))
        ]

    def positions(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Number the block's queries (rows, 1) and keys (num_keys)."""
        rows = torch.arange(self.queries[2].start, self.queries[2].stop, device=like.device)
        return rows[:, None], torch.arange(self.num_keys, device=like.device)

    def index(self, like: Tensor) -> Tensor:
        """Number the block's entries among all N H L S of P."""
        samples, heads = (torch.arange(cut.start, cut.stop, device=like.device) for cut in self.queries[:2])
        i, j = self.positions(like)
        _, num_heads, num_queries, num_keys = self.shape
        head = samples[:, None, None, None] * num_heads + heads[:, None, None]
        return (head * num_queries + i) * num_keys + j


def forward_by_blocks(
    attend: Callable[..., Tensor],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    options: Options,
) -> Tensor:
    """Return Y as (N, L, H, D); attend(q, k, v, mask, seed, options, block) gives a block's rows of it."""
    whole = Block.whole(q, k)
    if not may_overwrite(q):
        return attend(q, k, v, mask, seed, options, whole).transpose(1, 2).contiguous()
    y = q.new_empty(q.shape[0], q.shape[2], q.shape[1], v.shape[3])
    for block in whole.split(options.causal):
        q_, k_, v_, mask_ = q[block.queries], k[block.keys], v[block.keys], block.of_mask(mask)
        y.transpose(1, 2)[block.queries] = attend(q_, k_, v_, mask_, seed, options, block)
    return y


def backward_by_blocks(
    attend_backward: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]],
    dy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    options: Options,
    need_mask: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return dQ, dK, dV and, if needed, dM, of dY (N, H, L, D): dK, dV and dM add up over the blocks.

    attend_backward(dy, q, k, v, mask, seed, options, block) gives a block's part of them, of dM as dS.
    """
    whole = Block.whole(q, k)
    if not may_overwrite(dy):
        dq, dk, dv, ds = attend_backward(dy, q, k, v, mask, seed, options, whole)
        return dq, dk, dv, ds.sum_to_size(mask.shape) if need_mask and mask is not None else None
    blocks = list(whole.split(options.causal))
    fresh = bool(blocks) and blocks[0].num_keys == k.shape[2]  # a head's first block writes all its keys
    make = torch.empty_like if fresh else torch.zeros_like
    dq, dk, dv = torch.empty_like(q), make(k), make(v)
    dmask = torch.zeros_like(mask) if need_mask and mask is not None else None
    for block in blocks:
        q_, k_, v_, mask_ = q[block.queries], k[block.keys], v[block.keys], block.of_mask(mask)
        dy_ = dy[block.queries]
        dq_, dk_, dv_, ds = attend_backward(dy_, q_, k_, v_, mask_, seed, options, block)
        dq[block.queries] = dq_
        if fresh and block.queries[2].start == 0:
            dk[block.keys], dv[block.keys] = dk_, dv_
        else:
            dk[block.keys] += dk_
            dv[block.keys] += dv_
        if dmask is not None:
            dmask_ = block.of_mask(dmask)
            dmask_ += ds.sum_to_size(dmask_.shape)
    return dq, dk, dv, dmask
