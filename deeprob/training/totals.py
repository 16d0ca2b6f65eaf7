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

    def merged(self, strategy: Strategy) -> Tensor | None:
        """The sums over all processes, in each of them."""
        if self.sums is None:
            return None
        merged = strategy.reduce(self.sums.clone(), reduce_op="sum")
        assert isinstance(merged, Tensor)
        return merged

    def means(self, strategy: Strategy) -> tuple[Tensor, Tensor]:
        """Mean loss and share of correct answers over the samples of all processes."""
        merged = self.merged(strategy)
        assert merged is not None
        loss, correct, size = merged
        return (loss / size).float(), (correct / size).float()
