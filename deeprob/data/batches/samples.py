"""Samples of a split in memory: columns of one row a sample, and ragged ones of several."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

S = TypeVar("S", bound="Samples")


class Ragged:
    """N samples of a different number of rows each, in one tensor.

    values: (M, ...), the rows of all samples in order. offsets: int64 (N + 1,); sample i has the rows
    offsets[i] to offsets[i + 1].
    """

    def __init__(self, values: Tensor, offsets: Tensor) -> None:
        self.values, self.offsets = values, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Tensor:
        return self.values[int(self.offsets[index]) : int(self.offsets[index + 1])]

    @property
    def counts(self) -> Tensor:
        """The number of rows of each sample, int64 (N,)."""
        return self.offsets.diff()

    def take(self, index: Tensor) -> Ragged:
        """Select samples: int64 `index` (n,), in its order."""
        counts = self.counts[index]
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
        # Row r of the result is row r - (where its sample starts there) + (where it starts here).
        rows = torch.arange(int(offsets[-1])) + (self.offsets[index] - offsets[:-1]).repeat_interleave(counts)
        return Ragged(self.values.index_select(0, rows), offsets)


@dataclass(frozen=True, eq=False, kw_only=True)
class Samples:
    """What the samples of every task have in common; a frozen dataclass derives from it.

    Each field that holds a tensor or a Ragged has one row a sample.
    units: int64 (N,), the independent unit of statistics that each belongs to: its frame, or scene.
    groups: int64 (N,), index into group_names: what must not lie on both sides of a division.
    keys: one name for each sample, naming its frame.
    skipped: one line for each bad sample left out.
    """

    units: Tensor
    groups: Tensor
    group_names: tuple[str, ...]
    keys: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def pixels(self) -> Tensor | None:
        """The samples as images, uint8 (N, H, W, 3), RGB; None where they are none."""
        return None

    @property
    def class_ids(self) -> Tensor | Ragged | None:
        """The class of each sample, int64 (N,), or of each object in it; None where there is neither."""
        return None

    def take(self: S, index: Tensor) -> S:
        """Select the samples that int64 `index` (n,) names, in its order."""
        changed: dict[str, Any] = {"keys": tuple(self.keys[i] for i in index.tolist())}
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if isinstance(value, Tensor):
                changed[name] = value.index_select(0, index)
            elif isinstance(value, Ragged):
                changed[name] = value.take(index)
        return replace(self, **changed)


@dataclass(frozen=True, eq=False)
class ImageSamples(Samples):
    """N images of one size, and what a task adds. images: uint8 (N, H, W, 3), RGB."""

    images: Tensor

    @property
    def pixels(self) -> Tensor:
        """The images."""
        return self.images

    def pictures(self, index: Tensor) -> NDArray[np.uint8]:
        """Show the samples that int64 `index` (n,) names: uint8 (n, H, W, 3)."""
        return np.asarray(self.images.index_select(0, index).numpy())


@dataclass(frozen=True)
class Rows:
    """What a view sees in one frame: k samples.

    keys: k names. columns: name -> (k, ...) of one row a sample. ragged: name -> k arrays of any length.
    units: k names of the independent units of statistics; None where the frame is one, or its scene.
    """

    keys: list[str]
    columns: dict[str, NDArray[Any]]
    ragged: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    units: list[str] | None = None
