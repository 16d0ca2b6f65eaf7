"""A split read through a view, in parallel threads, or from the cache that an earlier call wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from deeprob.data.batches.batch import Collate
from deeprob.data.batches.samples import Rows, Samples
from deeprob.data.batches.store import Budget, Columns, read_cache, write_cache
from deeprob.data.frame import Frame
from deeprob.data.readers.points import Cloud
from deeprob.data.readers.reading import Frames, fingerprint, work_ahead
from deeprob.data.source import Source
from deeprob.errors import InputError
from deeprob.progress import tracked


class View(Protocol):
    """What one task sees of a data set.

    task: the class of the task that it is for, made from a PerceptionData: its dotted name.
    samples: the dataclass of its splits. augmentation: the dataclass of what batches can be varied by.
    sees_clouds: whether clouds of points will do in place of frames.
    boxes: what it needs to see in a frame that nobody labelled: "" nothing, `any` box, or boxes of a `named`
    class.
    lacking: what a split without samples does not have.
    """

    task: ClassVar[str]
    samples: ClassVar[type[Samples]]
    augmentation: ClassVar[type]
    sees_clouds: ClassVar[bool]
    boxes: ClassVar[str]

    @property
    def lacking(self) -> str: ...

    def classes(self, source: Any) -> tuple[str, ...]:
        """What a model tells apart."""
        ...

    def described(self) -> dict[str, Any]:
        """How an input is made for the network, for those who do it without deeprob. Raises InputError."""
        ...

    def rows(self, item: Frame | Cloud, split: str) -> Rows:
        """See the samples in a frame, or in a cloud of points of a source that has no frames."""
        ...

    def statistics(self, samples: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation that batches are normalised by."""
        ...

    def collate(
        self, mean: tuple[float, ...], std: tuple[float, ...], augmentation: Any = None, num_classes: int = 0
    ) -> Collate:
        """Make batches of samples; without an augmentation they are shown as they are."""
        ...


def materialise(
    source: Source,
    split: str,
    view: View,
    cache_dir: Path | None = None,
    progress: bool = True,
    memory_budget_gb: float = 8.0,
) -> Any:
    """Read all samples of a split that a view sees: `view.samples`.

    The cache's name follows from the source's files and the view, so that a change of either makes a new one;
    it is used where the source has a fingerprint. Beyond the budget, samples lie in a file below
    cache_dir, and pages of it are read as they are used. Raises InputError for a bad sample (unless the
    source skips them), and where no sample is left.
    """
    folder = None
    content = None if cache_dir is None else source.fingerprint(split)
    if cache_dir is not None and content is not None:
        content = fingerprint(content, view, source.on_bad_sample)
        # A name may be a stranger's, from a run folder: no part of it leads to another folder.
        name = f"{source.name}-{split}-{content}".replace("/", "_")
        folder = Path(cache_dir).expanduser() / name
        cached = read_cache(folder, view.samples, memory_budget_gb)
        if cached is not None:
            return cached
    samples = _read(source, split, view, cache_dir, progress, memory_budget_gb)
    if folder is not None:
        write_cache(folder, samples)
    return samples


def _read(
    source: Source, split: str, view: View, cache_dir: Path | None, progress: bool, gigabytes: float
) -> Samples:
    items = items_of(source, split, view)
    folder = None if cache_dir is None else Path(cache_dir).expanduser()
    gathering = Gathering(source, view, Columns(Budget(gigabytes), folder))
    for found in tracked(_see(items, split, view), f"reading {source.name} {split}", len(items), progress):
        if found is not None:
            gathering.add(*found)
    if not gathering.keys:
        raise InputError(
            f"split {split!r} has no {view.lacking}",
            where=source.name,
            expected=f"some in its {len(items)} frames",
        )
    skipped = tuple(items.skipped) if isinstance(items, Frames) else tuple(source.skipped)
    return gathering.finish(skipped)


class Gathering:
    """What a view has seen so far in the frames or clouds of a source."""

    def __init__(self, source: Source, view: View, columns: Columns) -> None:
        self.view, self.columns = view, columns
        self.unit_is_group = source.unit == "group"
        self.keys: list[str] = []
        self.units: list[int] = []
        self.groups: list[int] = []
        self.unit_ids: dict[str, int] = {}
        self.group_ids: dict[str, int] = {}

    def add(self, item: Frame | Cloud, rows: Rows) -> None:
        """Add the samples seen in one frame or cloud."""
        self.columns.append(rows)
        self.keys += rows.keys
        for unit in rows.units or [item.group if self.unit_is_group else item.key] * len(rows.keys):
            self.units.append(self.unit_ids.setdefault(unit, len(self.unit_ids)))
        self.groups += [self.group_ids.setdefault(item.group, len(self.group_ids))] * len(rows.keys)

    def finish(self, skipped: tuple[str, ...] = ()) -> Samples:
        """Return all samples, `view.samples`. There must be one."""
        return self.view.samples(
            **self.columns.finish(),
            units=torch.tensor(self.units),
            groups=torch.tensor(self.groups),
            group_names=tuple(self.group_ids),
            keys=tuple(self.keys),
            skipped=skipped,
        )


def items_of(source: Source, split: str, view: View) -> Sequence[Frame] | Sequence[Cloud]:
    """List what a view sees of a source. Raises InputError where it needs images and there are clouds."""
    return source.clouds(split) if view.sees_clouds and source.has_clouds else source.frames(split)


def _see(
    items: Sequence[Frame] | Sequence[Cloud], split: str, view: View
) -> Iterator[tuple[Frame | Cloud, Rows] | None]:
    """Read every item and what the view sees of it, in parallel threads; None for a skipped one."""
    read = items.read if isinstance(items, Frames) else items.__getitem__

    def see(index: int) -> tuple[Frame | Cloud, Rows] | None:
        item = read(index)
        return None if item is None else (item, view.rows(item, split))

    return work_ahead(see, len(items))
