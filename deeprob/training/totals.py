"""Means over an epoch, as sums over its samples: exact however batches and processes divide them."""

from __future__ import annotations

import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor


class Totals:
    """Sums over samples of the loss and of the correct answers, and their number; float64 where there is one.

    Kept on the model's device: adding to them waits for nothing.
    """

    def __init__(self) -> None:
        self.sums: Tensor | None = None  # (3,): loss, correct answers, samples

    def reset(self) -> None:
        """Begin an epoch."""
        self.sums = None

    def add(self, loss: Tensor, num_correct: Tensor, size: int) -> None:
        """Take in a batch of `size` samples: its mean loss, and how many answers were correct."""
        dtype = torch.float32 if loss.device.type == "mps" else torch.float64
        row = torch.stack(
            (loss.detach().to(dtype), num_correct.detach().to(dtype) / size, loss.new_ones((), dtype=dtype))
        )
        self.sums = row * size if self.sums is None else self.sums.add_(row, alpha=size)

    def gathered(self, strategy: Strategy) -> Tensor | None:
        """The sums of each process, (processes, 3), in all of them."""
        if self.sums is None:
            return None
        rows = strategy.all_gather(self.sums)
        assert isinstance(rows, Tensor)
        return rows.reshape(-1, 3)

    def restore(self, rows: Tensor | None, rank: int, processes: int) -> None:
        """Go on from what `gathered` gave: each process from its own sums.

        Where the number of processes is another now, the first goes on from the sums of all.
        """
        if rows is not None and len(rows) == processes:
            rows = rows[rank].clone()
        elif rows is not None:
            rows = rows.sum(0) if rank == 0 else torch.zeros_like(rows[0])
        self.sums = rows

    def means(self, strategy: Strategy) -> tuple[Tensor, Tensor]:
        """Mean loss and share of correct answers over the samples of all processes."""
        assert self.sums is not None
        merged = strategy.reduce(self.sums.clone(), reduce_op="sum")
        assert isinstance(merged, Tensor)
        loss, correct, size = merged
        return (loss / size).float(), (correct / size).float()
