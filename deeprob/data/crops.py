"""Crops of a split: all as uint8 in one tensor; and how splits are divided by whole groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from deeprob.data.samples import Samples
from deeprob.errors import InputError

FACTS = ("box_pixels", "distance_m", "visible_fraction")
"""Of each crop: the shorter side of its box, the object's distance, the part of it that is not hidden."""

WHOLE = (-1.0, -1.0, 1.0, 1.0)
"""The window of an image that is all of its frame."""


@dataclass(frozen=True, eq=False)
class Split(Samples):
    """N labelled images.

    images: uint8 (N, H, W, 3), RGB. labels: int64 (N,).
    units: int64 (N,), the independent unit of statistics that each belongs to: its frame, or simulated scene.
    groups: int64 (N,), index into group_names: what must not lie on both sides of a division.
    keys: one name for each image, naming its frame.
    skipped: one line for each bad sample left out.
    facts: float32 (N, 3), by which errors are told apart: FACTS, NaN where not known.
    windows: float32 (N, 4), what each shows of its frame: left, top, right, bottom, where the frame's own
        edges are -1 and 1.
    """

    images: torch.Tensor
    labels: torch.Tensor
    units: torch.Tensor
    groups: torch.Tensor
    group_names: tuple[str, ...]
    keys: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    facts: torch.Tensor = field(default_factory=lambda: torch.empty(0, len(FACTS)))
    windows: torch.Tensor = field(default_factory=lambda: torch.empty(0, len(WHOLE)))

    def __post_init__(self) -> None:
        if len(self.facts) == 0:  # nothing is known
            object.__setattr__(self, "facts", torch.full((len(self.keys), len(FACTS)), torch.nan))
        if len(self.windows) == 0:
            object.__setattr__(self, "windows", torch.tensor(WHOLE).repeat(len(self.keys), 1))

    def pictures(self, index: torch.Tensor) -> NDArray[np.uint8]:
        """Show the samples that int64 `index` (n,) names: uint8 (n, H, W, 3)."""
        return np.asarray(self.images.index_select(0, index).numpy())

    def descriptors(self) -> torch.Tensor:
        """Describe each sample by numbers that nothing was learned for: its pixels, uint8 (N, H, W, 3)."""
        return self.images


def divide_by_group(groups: torch.Tensor, fraction: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose whole groups at random until they hold about `fraction` of the samples.

    groups: int64 (N,). Returns the sorted indices of the rest and of the chosen. Raises InputError where the
    groups are too few to leave both sides something.
    """
    if not 0 < fraction < 1:
        raise InputError(f"a split by fraction {fraction}", expected="more than 0 and less than 1")
    names, counts = torch.unique(groups, return_counts=True)
    if len(names) < 2:
        raise InputError(
            f"{len(names)} group cannot be divided into two splits",
            expected="two sessions or scenes at least",
        )
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    filled = counts[order].cumsum(0)
    # The number of groups whose total is nearest to what was asked, with one left on each side.
    take = int((filled[:-1] - fraction * len(groups)).abs().argmin()) + 1
    chosen = torch.isin(groups, names[order[:take]])
    return (~chosen).nonzero().squeeze(1), chosen.nonzero().squeeze(1)


def assign_folds(groups: torch.Tensor, num_folds: int, seed: int) -> torch.Tensor:
    """Deal whole groups into folds of about equal size: int64 (N,), the fold of each sample.

    groups: int64 (N,). The largest groups are dealt first, each to the fold that has least; the seed decides
    between equals. Raises InputError for fewer groups than folds.
    """
    names, counts = torch.unique(groups, return_counts=True)
    if not 2 <= num_folds <= len(names):
        raise InputError(f"{num_folds} folds of {len(names)} groups", expected=f"2 to {len(names)} folds")
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    order = order[counts[order].argsort(descending=True, stable=True)]
    fold_of = torch.zeros(len(names), dtype=torch.int64)
    sizes = torch.zeros(num_folds, dtype=torch.int64)
    for group in order.tolist():
        fold_of[group] = sizes.argmin()
        sizes[fold_of[group]] += counts[group]
    return fold_of[torch.searchsorted(names, groups)]


def class_counts(labels: torch.Tensor, classes: Sequence[str]) -> dict[str, int]:
    """Count the samples of each class."""
    counts = torch.bincount(labels, minlength=len(classes)).tolist()
    return dict(zip(classes, counts, strict=True))
