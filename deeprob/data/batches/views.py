"""Batches of more than samples with their labels: two views of each, or unlabelled ones beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deeprob.data.batches.batch import AnyBatch, Collate
from deeprob.errors import InputError


class TwoViews(NamedTuple):
    """Two views of each sample, drawn independently: what a model takes, twice (B, ...)."""

    inputs: Tensor
    others: Tensor
    indices: Tensor


@dataclass(frozen=True)
class TwoViewsCollate:
    """Shows each sample twice. collate: makes a batch of one view.

    of_object: the second view is of another sample that shows the same object, where there is one.
    """

    collate: Collate
    of_object: bool = False

    def __call__(self, split: Any, indices: Tensor, generator: torch.Generator) -> TwoViews:
        others = same_object(split, indices, generator) if self.of_object else indices
        first, second = (self.collate(split, chosen, generator) for chosen in (indices, others))
        return TwoViews(first[0], second[0], indices)


def same_object(split: Any, indices: Tensor, generator: torch.Generator) -> Tensor:
    """Draw for samples int64 (B,) another one each of the same class and unit, such as a scene; else itself.

    Raises InputError where a sample has no class of its own.
    """
    labels = split.class_ids
    if not isinstance(labels, Tensor):
        raise InputError(
            "these samples do not say which object they show",
            where="objective.pairs",
            fix="set objective.pairs=image",
        )
    key = split.units * (int(labels.max()) + 1) + labels
    order = key.argsort(stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    asked, listed = key[indices], key[order]
    first, last = torch.searchsorted(listed, asked), torch.searchsorted(listed, asked, right=True)
    count = last - first
    step = 1 + (torch.rand(len(indices), generator=generator) * (count - 1)).long()
    other: Tensor = order[first + (rank[indices] - first + step) % count]
    return other


class WithUnlabelled(NamedTuple):
    """A batch of labelled samples, and two views of a batch of unlabelled ones.

    What the latter two say of labels is what an annotator would have said: for measuring alone.
    """

    labelled: AnyBatch
    weak: AnyBatch
    strong: AnyBatch

    @property
    def indices(self) -> Tensor:
        """Positions of the labelled samples in the split."""
        return self.labelled.indices


@dataclass(frozen=True)
class Unlabelled:
    """Samples whose labels nobody may look at: those of `samples` that int64 `chosen` names.

    same_classes: whether their hidden labels count classes as the labelled samples do.
    """

    samples: Any
    chosen: Tensor
    same_classes: bool = True


@dataclass(frozen=True)
class WithUnlabelledCollate:
    """Adds `ratio` unlabelled samples for each labelled one, drawn anew from `pool` for every batch.

    same_geometry: both views are made from the same random numbers, so that what is done to labels in one is
        right for the other, as long as the two augmentations move images alike.
    """

    labelled: Collate
    weak: Collate
    strong: Collate
    pool: Callable[[], Unlabelled]
    ratio: int
    same_geometry: bool

    def __call__(self, split: Any, indices: Tensor, generator: torch.Generator) -> WithUnlabelled:
        given = self.labelled(split, indices, generator)
        pool = self.pool()
        number = self.ratio * len(indices)
        drawn = pool.chosen[torch.randint(len(pool.chosen), (number,), generator=generator)]
        state = generator.get_state()
        weak = self.weak(pool.samples, drawn, generator)
        if self.same_geometry:
            generator.set_state(state)
        return WithUnlabelled(given, weak, self.strong(pool.samples, drawn, generator))


def inputs_of(batch: AnyBatch) -> Tensor:
    """What the model takes of a batch, or of the first batch in it."""
    first = batch[0]
    return first if isinstance(first, Tensor) else inputs_of(first)


def expect_unlabelled(pool: Unlabelled) -> Unlabelled:
    """The same. Raises InputError where it is empty."""
    if len(pool.chosen) == 0:
        raise InputError(
            "no unlabelled samples: every training sample has its label",
            where="data.labelled",
            fix="set data.labelled, such as 0.1, or data.unlabelled",
        )
    return pool
