"""Which training samples keep their labels, where only a share of them does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deeprob.data.batches.samples import Ragged
from deeprob.errors import InputError

BY = ("sample", "frame", "group")


def choose_labelled(samples: Any, share: float, by: str, seed: int) -> Tensor:
    """Choose the samples that keep their labels: sorted int64 (n,), at least one.

    by: `sample`: the share of each class, one of it at least, where a sample has one class; `frame`, `group`:
        whole independent units, or whole groups (recordings), until the share is reached.
    """
    generator = torch.Generator().manual_seed(seed)
    if by != "sample":
        return _whole(samples.units if by == "frame" else samples.groups, share, generator)
    labels = getattr(samples, "labels", None)
    if not isinstance(labels, Tensor) or labels.dim() != 1:
        return _whole(torch.arange(len(samples)), share, generator)
    chosen = []
    for label in torch.unique(labels).tolist():
        of_class = (labels == label).nonzero().squeeze(1)
        order = torch.randperm(len(of_class), generator=generator)
        chosen.append(of_class[order[: max(1, round(share * len(of_class)))]])
    return torch.cat(chosen).sort().values


def _whole(members: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Take whole members in a random order; the last is the one that comes nearest to the share."""
    names, counts = torch.unique(members, return_counts=True)
    order = torch.randperm(len(names), generator=generator)
    filled = counts[order].cumsum(0)
    take = int((filled - share * len(members)).abs().argmin()) + 1
    return torch.isin(members, names[order[:take]]).nonzero().squeeze(1)


def without_label(samples: Any, chosen: Tensor, classes: Sequence[str]) -> list[str]:
    """Name the classes that some samples have and none of the chosen ones has."""
    labels = getattr(samples, "labels", None)
    if isinstance(labels, Ragged):
        there, kept = labels.values, labels.take(chosen).values
    elif isinstance(labels, Tensor):
        there, kept = labels.flatten(), labels[chosen].flatten()
    else:
        return []
    lost = set(torch.unique(there).tolist()) - set(torch.unique(kept).tolist())
    return [classes[int(i)] for i in sorted(lost)]


def check_share(share: float, by: str) -> None:
    """Raise InputError for a share or a unit that there is not."""
    if not 0 < share <= 1:
        raise InputError(f"data.labelled is {share:g}", expected="more than 0, at most 1")
    if by not in BY:
        raise InputError(f"data.labelled_by is {by!r}", expected=" or ".join(BY))
