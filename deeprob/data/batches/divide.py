"""Splits divided by whole groups, and the classes counted."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from deeprob.errors import InputError


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
