"""Means over an epoch, as sums over its samples: exact however batches and processes divide them."""

from __future__ import annotations

import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor

from deeprob.tasks.base import Loss


class Totals:
    """Sums over samples of the loss and of its terms, and their number; float64 where there is one.

    Kept on the model's device: adding to them waits for nothing.
    """

    def __init__(self) -> None:
        self.sums: Tensor | None = None  # (2 + terms,): loss, each term, samples
        self.names: tuple[str, ...] = ()

    def reset(self) -> None:
        """Begin an epoch."""
        self.sums = None

    def add(self, loss: Loss, size: int) -> None:
        """Take in a batch of `size` samples: its mean loss, and the means of its terms."""
        total = loss.total.detach()
        dtype = torch.float32 if total.device.type == "mps" else torch.float64
        self.names = tuple(loss.terms)
        terms = [term.detach().to(dtype) for term in loss.terms.values()]
        row = torch.stack([total.to(dtype), *terms, total.new_ones((), dtype=dtype)])
        self.sums = row * size if self.sums is None else self.sums.add_(row, alpha=size)

    def gathered(self, strategy: Strategy) -> Tensor | None:
        """The sums of each process, (processes, 2 + terms), in all of them."""
        if self.sums is None:
            return None
        rows = strategy.all_gather(self.sums)
        assert isinstance(rows, Tensor)
        return rows.reshape(-1, len(self.sums))

    def restore(self, rows: Tensor | None, rank: int, processes: int) -> None:
        """Continue from what `gathered` gave: each process from its own sums.

        Where the number of processes is another now, the first continues from the sums of all.
        """
        if rows is not None and len(rows) == processes:
            rows = rows[rank].clone()
        elif rows is not None:
            rows = rows.sum(0) if rank == 0 else torch.zeros_like(rows[0])
        self.sums = rows

    def means(self, strategy: Strategy) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss, and the mean of each term, over the samples of all processes."""
        assert self.sums is not None
        merged = strategy.reduce(self.sums.clone(), reduce_op="sum")
        assert isinstance(merged, Tensor)
        loss, *terms = (merged[:-1] / merged[-1]).float()
        return loss, dict(zip(self.names, terms, strict=True))
