"""A data source as training and evaluation take it: splits, and batches of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from deeprob.data.batches.batch import Collate
from deeprob.data.batches.divide import assign_folds, divide_by_group
from deeprob.data.batches.fresh import FreshCollate, FreshFrames
from deeprob.data.batches.labelled import check_share, choose_labelled
from deeprob.data.batches.loader import BatchLoader, balance_name
from deeprob.data.batches.materialise import View, materialise
from deeprob.data.batches.views import Unlabelled
from deeprob.data.source import Source
from deeprob.errors import InputError


class PerceptionData:
    """Batches of one source seen through one view: crops, whole frames for a task, or clouds of points.

    augmentation: of the view's own kind (`view.augmentation`).
    val_fraction: where the source has no split "val", this part of "train" becomes it, by whole groups.
    num_folds, fold: cross-validation in place of a fraction: "train" is dealt into num_folds folds by whole
    groups, and number `fold` (from 0) becomes "val"; num_folds 0 is off.
    balanced: what comes equally often in training batches: "class", "frame", or "group" (a recording, or an
        object instance, whatever the source divides by); "repeat" takes frames with rare objects more often;
        "none" takes samples as often as they are there.
    cache_dir: where decoded samples are kept for the next run; None keeps nothing.
    memory_budget_gb: splits larger than this are not held in memory but mapped from files below cache_dir.
    mean, std: of each channel, on images from 0 to 1; None takes those of the training split.
    labelled: share of the training samples whose labels are used; labelled_by: see labelled.choose_labelled.
        An epoch is as long as with all labels: the labelled samples are repeated.
    unlabelled: gives a source whose training frames are the unlabelled ones; None: the rest of this one's.
    A source that makes its own data has a method `prepare(progress: bool)`, called before the first split.
    Where it streams the training frames (Source.streams), each visit shows a frame anew, and a batch is of as
    many frames as show batch_size samples on average.
    """

    def __init__(
        self,
        source: Source,
        view: View,
        augmentation: Any = None,
        batch_size: int = 128,
        eval_batch_size: int = 512,
        num_workers: int = 0,
        seed: int = 0,
        cache_dir: Path | None = None,
        val_fraction: float = 0.0,
        num_folds: int = 0,
        fold: int = 0,
        balanced: str | bool = "none",
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        progress: bool = True,
        memory_budget_gb: float = 8.0,
        labelled: float = 1.0,
        labelled_by: str = "sample",
        unlabelled: Callable[[], Source] | None = None,
    ) -> None:
        check_share(labelled, labelled_by)
        for name, value, low in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("workers", num_workers, 0),
            ("num_folds", num_folds, 0),
        ):
            if value < low:
                raise InputError(f"data.{name} is {value}", expected=f"{low} or more")
        if not 0 <= val_fraction < 1:
            raise InputError(f"data.val_fraction is {val_fraction:g}", expected="0 to under 1")
        if not memory_budget_gb >= 0:
            raise InputError(f"data.memory_budget_gb is {memory_budget_gb:g}", expected="0 or more")
        if (val_fraction or num_folds) and "val" in source.splits:
            key = "num_folds" if num_folds else "val_fraction"
            raise InputError(
                f"data.{key} is {num_folds or val_fraction}, but {source.name} has its own split 'val'",
                fix=f"set data.{key}=0",
            )
        if val_fraction and num_folds:
            raise InputError("data.val_fraction and data.num_folds are both set", fix="set one of them to 0")
        if num_folds and not 0 <= fold < num_folds:
            raise InputError(f"data.fold is {fold}", expected=f"0 to {num_folds - 1}")
        self.source = source
        self.view = view
        self.augmentation = augmentation
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.cache_dir = cache_dir
        self.val_fraction = val_fraction
        self.num_folds, self.fold = num_folds, fold
        self.balanced = balance_name(balanced)
        self.progress = progress
        self.memory_budget_gb = memory_budget_gb
        self._mean_std = (tuple(mean), tuple(std)) if mean is not None and std is not None else None
        self.labelled_share, self.labelled_by = labelled, labelled_by
        self.unlabelled_source = unlabelled
        self.arrange: Callable[[Collate], Collate] = lambda collate: collate  # an objective may have its own
        self.needs_labels = True
        self.trainer: Any = None  # of a training that goes on: its epochs and processes
        self._splits: dict[str, Any] = {}
        self._prepared = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names; a stray byte of a folder's name, which no report could hold, becomes its number."""
        names = self.view.classes(self.source)
        return tuple(name.encode("utf-8", "backslashreplace").decode() for name in names)

    @property
    def source_name(self) -> str:
        return self.source.name

    @property
    def real(self) -> bool:
        return self.source.real

    @property
    def unit(self) -> str:
        """What is independent for statistics: each `frame`, or only each `group` of them."""
        return self.source.unit

    @property
    def splits(self) -> tuple[str, ...]:
        """The names that `split` knows."""
        return (*self.source.splits, "val") if self._divides else self.source.splits

    @property
    def _divides(self) -> bool:
        """Whether "val" is made of a part of "train"."""
        return bool(self.val_fraction or self.num_folds)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of samples of every split."""
        return {name: len(self.split(name)) for name in self.splits}

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel, on images from 0 to 1: what batches are normalised by."""
        return self._normalisation[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel, as `mean`."""
        return self._normalisation[1]

    @functools.cached_property
    def _normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self._mean_std or self.view.statistics(self.split("train"))

    def prepare_data(self) -> None:
        """Let the source make what it needs, once."""
        if not self._prepared:
            self.source.prepare(self.progress)
        self._prepared = True

    def split(self, name: str) -> Any:
        """All samples of a split, read once. Raises InputError for an unknown name or bad data."""
        if name not in self.splits:
            fix = "set data.val_fraction, such as 0.1" if name == "val" else None
            raise InputError(
                f"no split {name!r}", where=self.source.name, expected=" or ".join(self.splits), fix=fix
            )
        if name not in self._splits:
            self.prepare_data()
            if self._divides and name in ("train", "val"):
                whole = self._read("train")
                if self.num_folds:
                    held_out = assign_folds(whole.groups, self.num_folds, self.seed) == self.fold
                    train, val = (~held_out).nonzero().squeeze(1), held_out.nonzero().squeeze(1)
                else:
                    train, val = divide_by_group(whole.groups, self.val_fraction, self.seed)
                self._splits["train"], self._splits["val"] = whole.take(train), whole.take(val)
            else:
                self._splits[name] = self._read(name)
        return self._splits[name]

    def _read(self, split: str) -> Any:
        return materialise(
            self.source, split, self.view, self.cache_dir, self.progress, self.memory_budget_gb
        )

    @functools.cached_property
    def labelled(self) -> torch.Tensor:
        """The training samples whose labels are used, sorted int64 (n,)."""
        samples = self.split("train")
        if self.labelled_share == 1:
            return torch.arange(len(samples))
        return choose_labelled(samples, self.labelled_share, self.labelled_by, self.seed)

    @property
    def labelled_samples(self) -> Any:
        """The training samples whose labels are used."""
        samples = self.split("train")
        return samples if self.labelled_share == 1 else samples.take(self.labelled)

    @functools.cached_property
    def unlabelled(self) -> Unlabelled:
        """The training samples whose labels are not used: of another source, or the rest of this one's."""
        if self.unlabelled_source is not None:
            other = self.unlabelled_source()
            other.prepare(self.progress)
            samples = materialise(
                other, "train", self.view, self.cache_dir, self.progress, self.memory_budget_gb
            )
            same = tuple(self.view.classes(other)) == tuple(self.view.classes(self.source))
            return Unlabelled(samples, torch.arange(len(samples)), same)
        samples = self.split("train")
        hidden = torch.ones(len(samples), dtype=torch.bool)
        hidden[self.labelled] = False
        return Unlabelled(samples, hidden.nonzero().squeeze(1))

    def train_dataloader(self) -> BatchLoader:
        samples, size = self.split("train"), self.batch_size
        some = self.needs_labels and self.labelled_share < 1
        if self._streams:
            if some:
                raise InputError(
                    "frames that are made anew at every visit all have labels",
                    where="data.labelled",
                    fix="set data.source.fresh=false",
                )
            samples = FreshFrames.of(self.source, "train", samples)
            size = max(1, round(size / samples.samples_per_frame))
        return BatchLoader(
            samples,
            size,
            self._training_collate(self.augmentation),
            shuffle=True,
            balanced=self.balanced,
            drop_last=True,
            num_workers=self.num_workers,
            seed=self.seed,
            closing=self._closing(),
            chosen=self.labelled if some else None,
            **self._part(),
        )

    @property
    def _streams(self) -> bool:
        return "train" in self.source.streams

    def _training_collate(self, augmentation: Any) -> Collate:
        """What makes training batches by an augmentation."""
        collate = self.arrange(self.collate(augmentation))
        if self._streams:
            return FreshCollate(self.source, "train", self.view, collate)
        return collate

    def collate(self, augmentation: Any) -> Collate:
        """What makes batches of this view's samples by an augmentation."""
        return self.view.collate(self.mean, self.std, augmentation, len(self.classes))

    def _closing(self) -> tuple[int, Collate] | None:
        """From which epoch on the augmentation changes, and what makes batches then."""
        closing = None if self.augmentation is None else self.augmentation.closing()
        epochs = 0 if self.trainer is None else self.trainer.max_epochs or 0
        if closing is None or epochs < 1:  # a training without a known end has no last part
            return None
        part, augmentation = closing
        return round(part * epochs), self._training_collate(augmentation)

    def val_dataloader(self) -> BatchLoader:
        """Batches of this process's part of "val": together the parts are the split, each sample once."""
        collate = self.view.collate(self.mean, self.std)
        return BatchLoader(self.split("val"), self.eval_batch_size, collate, **self._part())

    def _part(self) -> dict[str, Any]:
        """Which of the processes that train together this is."""
        if self.trainer is None:
            return {}
        return {"rank": self.trainer.global_rank, "num_replicas": self.trainer.world_size}

    def loader(self, split: str) -> BatchLoader:
        """Batches of a split as it is: in order, without augmentation."""
        return self.loader_of(self.split(split))

    def loader_of(self, samples: Any) -> BatchLoader:
        """Batches of any samples of this view, as `loader`."""
        return BatchLoader(samples, self.eval_batch_size, self.view.collate(self.mean, self.std))

    def example(self) -> torch.Tensor:
        """One training sample as the model takes it, without augmentation: (1, ...)."""
        collate = self.view.collate(self.mean, self.std)
        example: torch.Tensor = collate(self.split("train"), torch.tensor([0]), torch.Generator())[0]
        return example
