"""One step's samples, and what makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor


class AnyBatch(Protocol):
    """One step's samples: a NamedTuple of its task, whose first field is what the model takes.

    images: float32 (B, 3, H, W), normalised; or points: float32 (B, P, 3). indices: int64 (B,), positions in
    the split.
    """

    @property
    def indices(self) -> Tensor: ...

    def __getitem__(self, field: int, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


Collate: TypeAlias = Callable[[Any, Tensor, torch.Generator], AnyBatch]
"""Makes the batch of some samples: (split, int64 indices (B,), generator of every random number)."""


def map_tensors(batch: AnyBatch, change: Callable[[Tensor], Tensor]) -> AnyBatch:
    """Change every tensor of a batch, and of the batches in it."""

    def changed(value: Any) -> Any:
        if isinstance(value, Tensor):
            return change(value)
        return [change(t) for t in value] if isinstance(value, list) else map_tensors(value, change)

    values: list[Any] = [changed(field) for field in batch]
    return type(batch)(*values)


def with_inputs(batch: AnyBatch, inputs: Tensor) -> AnyBatch:
    """The same batch with other inputs for the model."""
    _, *rest = batch
    changed: AnyBatch = type(batch)(inputs, *rest)  # type: ignore[call-arg]
    return changed
