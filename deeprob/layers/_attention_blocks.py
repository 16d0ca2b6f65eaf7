"""Which entries of the attention weights P (N, H, L, S) are computed at a time.

Attention needs a softmax over whole rows of P and nothing between rows, so P is cut into blocks of rows that
fit the cache and are forgotten after use: memory grows with L + S, not with L S.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BLOCK = 1 << 18  # entries of P in a block: 1 MB in float32
BLOCK_ON_GPU = 1 << 26  # there a block is a launch or ten, and wants to fill the device: 256 MB


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
