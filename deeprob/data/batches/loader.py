"""Batches cut by index from a split in memory.

A batch is a pure function of (seed, epoch, batch number): any number of workers and a resume give the same.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from deeprob.data.batches.augment import stream
from deeprob.data.batches.batch import AnyBatch, Collate, map_tensors
from deeprob.data.batches.samples import Ragged, Samples
from deeprob.errors import InputError

BALANCES = ("none", "class", "frame", "group", "repeat")


def balance_name(value: str | bool) -> str:
    """Name what batches are balanced by; true stands for "class". Raises InputError for other words."""
    name = {"true": "class", "false": "none"}.get(str(value).lower(), str(value))
    if name not in BALANCES:
        raise InputError(f"balanced is {value!r}", expected=" or ".join(BALANCES))
    return name


def repeat_factors(labels: torch.Tensor | Ragged | None) -> torch.Tensor:
    """Weigh frames by their rarest class, float64 (N,): the largest sqrt(f / f_c) of a frame's classes c.

    f_c: share of the frames with an object of class c; f: that of the most frequent class; a frame without
    objects weighs 1. Source: Gupta et al., LVIS (2019), with f in place of its threshold.
    labels: int64, those of each frame. Raises InputError for samples of one class each.
    """
    if not isinstance(labels, Ragged):
        raise InputError(
            "data.balanced is 'repeat', but a sample here has no list of objects",
            expected="none, class, frame or group",
        )
    frames = torch.arange(len(labels)).repeat_interleave(labels.counts)
    present = torch.zeros(len(labels), int(labels.values.max()) + 1 if len(labels.values) else 1)
    present[frames, labels.values] = 1
    number = present.sum(0).double()
    factors = (number.max() / number.clamp_min(1)).sqrt()
    return torch.where(present > 0, factors, 1.0).amax(1)


class Batches:
    """The batches of a split, as a function of (epoch, number)."""

    def __init__(
        self,
        split: Samples,
        batch_size: int,
        collate: Collate,
        shuffle: bool,
        balanced: str,
        drop_last: bool,
        seed: int,
        rank: int,
        num_replicas: int,
        closing: tuple[int, Collate] | None = None,
        chosen: torch.Tensor | None = None,
    ) -> None:
        self.split = split
        self.chosen = chosen
        self.batch_size = batch_size
        self.collate, self.closing = collate, closing
        self.shuffle, self.balanced, self.drop_last = shuffle, balanced, drop_last
        self.seed = seed
        self.rank, self.num_replicas = rank, num_replicas
        self._order: tuple[int, torch.Tensor] | None = None

    def __len__(self) -> int:
        full, rest = divmod(len(self.split), self.batch_size * self.num_replicas)
        return full + (rest > 0 and not (self.drop_last and full > 0))

    def __getitem__(self, item: tuple[int, int]) -> AnyBatch:
        epoch, number = item
        step = self.batch_size * self.num_replicas  # what all processes take together
        indices = self._epoch_order(epoch)[number * step : (number + 1) * step][
            self.rank :: self.num_replicas
        ]
        # Stream 0 of the epoch is its order.
        generator = stream(self.seed, epoch, 1 + number * self.num_replicas + self.rank)
        closing = self.closing
        collate = self.collate if closing is None or epoch < closing[0] else closing[1]
        return collate(self.split, indices, generator)

    def _epoch_order(self, epoch: int) -> torch.Tensor:
        """List the split's indices in the epoch's order, int64 (N,)."""
        cached = self._order  # taken once: another thread may put another epoch's in its place
        if cached is not None and cached[0] == epoch:
            return cached[1]
        generator = stream(self.seed, epoch, 0)
        whole = len(self.split)
        count = whole if self.chosen is None else len(self.chosen)
        if self.balanced != "none":
            weights = self._weights()
            order = torch.multinomial(weights, whole, replacement=True, generator=generator)
        elif self.shuffle:
            rounds = [torch.randperm(count, generator=generator) for _ in range(-(-whole // count))]
            order = torch.cat(rounds)[:whole]
        else:
            order = torch.arange(whole) % count
        order = order if self.chosen is None else self.chosen[order]
        self._order = epoch, order
        return order

    def _weights(self) -> torch.Tensor:
        """Weigh how often each of the samples that are taken is to come, float64 (N,)."""
        taken = slice(None) if self.chosen is None else self.chosen
        if self.balanced == "repeat":
            return repeat_factors(self.split.class_ids)[taken]
        members = self._members()[taken]
        return 1 / torch.bincount(members)[members].double()

    def _members(self) -> torch.Tensor:
        """Say which of what is to come equally often each sample belongs to, int64 (N,)."""
        if self.balanced == "frame":
            return self.split.units
        if self.balanced == "group":
            return self.split.groups
        class_ids = self.split.class_ids
        if not isinstance(class_ids, torch.Tensor):
            raise InputError(
                "data.balanced is 'class', but a sample here has no class of its own",
                expected="none, frame or group",
            )
        return class_ids


class BatchLoader:
    """Iterates over the batches of one epoch, then over those of the next.

    collate: makes a batch of some samples (deeprob.data.batches.batch.Collate).
    shuffle: in an order drawn for each epoch.
    balanced: "class", "frame" or "group": each of them comes as often as any other, samples repeated;
        "repeat": frames with rare objects come more often, see repeat_factors; "none".
    drop_last: leave out a last batch that is not full (unless it is the only one).
    num_workers: threads that make batches ahead; 0 makes them in this one, when they are asked for.
    rank, num_replicas: this process's number among those that train together; each takes its own part.
    closing: an epoch, and what makes the batches from it on in place of `collate`.
    chosen: int64 (n,), the samples that batches are made of; they are repeated until an epoch is as long as
        one over the whole split. None: all.

    `state_dict` says which epoch, and how many of its batches have been given: saved with a checkpoint
    between two steps and loaded again, the next iteration starts at the batch after. The number of processes
    may change, as long as their batches together do not (between two epochs, even then).
    """

    batch_sampler = None  # Lightning looks at it wherever it finds a `sampler`

    def __init__(
        self,
        split: Samples,
        batch_size: int,
        collate: Collate,
        *,
        shuffle: bool = False,
        balanced: str | bool = "none",
        drop_last: bool = False,
        num_workers: int = 0,
        seed: int = 0,
        rank: int = 0,
        num_replicas: int = 1,
        closing: tuple[int, Collate] | None = None,
        chosen: torch.Tensor | None = None,
    ) -> None:
        for field, value, least in (
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
        ):
            if value < least:
                raise InputError(f"{field} is {value}", expected=f"{least} or more")
        self.batches = Batches(
            split,
            batch_size,
            collate,
            shuffle,
            balance_name(balanced),
            drop_last,
            seed,
            rank,
            num_replicas,
            closing,
            chosen,
        )
        if len(split) < num_replicas:
            raise InputError(
                f"{len(split)} samples for {num_replicas} processes", expected="one each at least"
            )
        self.num_workers = num_workers
        self._epoch = 0
        self._given = 0  # batches of this epoch that an iteration has handed out
        self._start = 0  # where the next iteration starts: not 0 only after a resume

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        """Give the batches of the epoch. The epoch is looked up at the first batch, not at this call."""
        if self._given and not self._start:
            self.set_epoch(self._epoch + 1)
        start, self._start = self._start, 0
        for given, batch in enumerate(self._run(start), start=start + 1):
            self._given = given
            yield batch

    @property
    def samples(self) -> Samples:
        """The samples that batches are made of."""
        return self.batches.split

    @property
    def sampler(self) -> BatchLoader:
        """Itself: where Lightning looks for `set_epoch`, which it calls at the start of each epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` the next one, from its start; a resumed position inside this same epoch stays."""
        if epoch != self._epoch or not self._start:
            self._epoch, self._given, self._start = epoch, 0, 0

    def state_dict(self) -> dict[str, int]:
        """Say which batch comes next."""
        return {
            "epoch": self._epoch,
            "batches_given": self._given,
            "num_batches": len(self),
            "num_samples": len(self.batches.split),
            "batch_size": self.batches.batch_size * self.batches.num_replicas,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batches given. Raises InputError in the middle of an epoch over other data."""
        epoch, given = int(state["epoch"]), int(state["batches_given"])
        finished = given in (0, state.get("num_batches", len(self)))  # then any other division can follow
        now = self.state_dict()
        for field in ("num_samples", "batch_size"):
            if not finished and state[field] != now[field]:
                raise InputError(
                    f"the checkpoint was saved inside an epoch with {field} {state[field]}, not {now[field]}",
                    fix="resume with the same data and batch size",
                )
        self._epoch = epoch + (given > 0 and finished)
        self._given = self._start = 0 if finished else given

    def _run(self, start: int) -> Iterator[Any]:
        """Make this epoch's batches from number `start` on, in order."""
        numbers = iter([(self._epoch, number) for number in range(start, len(self))])
        if self.num_workers == 0:
            yield from map(self.batches.__getitem__, numbers)
            return
        # Threads are enough: the work is in compiled loops and torch's operations, which let go of Python's
        # lock, and a batch needs not be sent from another process.
        pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="batches")
        try:
            ahead = deque(
                pool.submit(self._make, item) for item in itertools.islice(numbers, self.num_workers + 1)
            )
            while ahead:
                batch = ahead.popleft().result()
                ahead.extend(pool.submit(self._make, item) for item in itertools.islice(numbers, 1))
                yield batch
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _make(self, item: tuple[int, int]) -> AnyBatch:
        batch = self.batches[item]
        if torch.cuda.is_available():  # pinned memory goes to the GPU while it computes
            return map_tensors(batch, torch.Tensor.pin_memory)
        return batch
