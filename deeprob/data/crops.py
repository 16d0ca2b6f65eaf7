"""A split in memory: every crop as uint8 in one tensor, cached on disk, divided by group where asked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from deeprob.data.frame import Source
from deeprob.data.reading import Frames, fingerprint, read_ahead
from deeprob.data.views import ClassificationView
from deeprob.errors import InputError
from deeprob.runs import atomic_file


@dataclass(frozen=True, eq=False)
class Split:
    """N labelled images.

    images: uint8 (N, H, W, 3), RGB. labels: int64 (N,).
    units: int64 (N,), the independent unit of statistics that each belongs to: its frame, or simulated scene.
    groups: int64 (N,), index into group_names: what must not lie on both sides of a division.
    keys: one name for each image, naming its frame.
    skipped: one line for each bad sample left out.
    """

    images: torch.Tensor
    labels: torch.Tensor
    units: torch.Tensor
    groups: torch.Tensor
    group_names: tuple[str, ...]
    keys: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: torch.Tensor) -> Split:
        """Select the images that int64 `index` (n,) names, in its order."""
        return Split(
            images=self.images.index_select(0, index),
            labels=self.labels[index],
            units=self.units[index],
            groups=self.groups[index],
            group_names=self.group_names,
            keys=tuple(self.keys[i] for i in index.tolist()),
            skipped=self.skipped,
        )


def materialise(
    source: Source, split: str, view: ClassificationView, cache_dir: Path | None = None, progress: bool = True
) -> Split:
    """Read all crops of a split, in parallel threads, or from the cache that an earlier call wrote.

    The cache's name follows from the source's files and the view, so that a change of either makes a new one;
    it is used where the source has a `fingerprint(split)`. Raises InputError for a bad sample (unless the
    source skips them), and where no crop is left.
    """
    folder = None
    name_content = getattr(source, "fingerprint", None)
    if cache_dir is not None and name_content is not None:
        content = fingerprint(name_content(split), view, getattr(source, "on_bad_sample", None))
        folder = Path(cache_dir).expanduser() / f"{source.name}-{split}-{content}"
        cached = _read_cache(folder)
        if cached is not None:
            return cached
    crops = _read_crops(source, split, view, progress)
    if folder is not None:
        _write_cache(folder, crops)
    return crops


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


def _read_crops(source: Source, split: str, view: ClassificationView, progress: bool) -> Split:
    frames = source.frames(split)
    # Frames of one simulated scene share their objects; those of a real session lie apart in time.
    unit_is_group = getattr(source, "unit", "frame" if source.real else "group") == "group"
    images: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.int64]] = []
    keys: list[str] = []
    units: list[int] = []
    groups: list[int] = []
    unit_ids: dict[str, int] = {}
    group_ids: dict[str, int] = {}
    with Progress(transient=True, disable=not progress) as bar:
        task = bar.add_task(f"reading {source.name} {split}", total=len(frames))
        for frame in read_ahead(frames):
            bar.advance(task)
            if frame is None:
                continue
            crops, classes, names = view.crops(frame)
            unit = frame.group if unit_is_group else frame.key
            images.append(crops)
            labels.append(classes)
            keys += names
            units += [unit_ids.setdefault(unit, len(unit_ids))] * len(names)
            groups += [group_ids.setdefault(frame.group, len(group_ids))] * len(names)
    if not keys:
        raise InputError(
            f"split {split!r} has no crops",
            where=source.name,
            expected=f"boxes of at least {view.min_pixels} pixels in {len(frames)} frames",
        )
    return Split(
        images=torch.from_numpy(np.concatenate(images)),
        labels=torch.from_numpy(np.concatenate(labels)),
        units=torch.tensor(units),
        groups=torch.tensor(groups),
        group_names=tuple(group_ids),
        keys=tuple(keys),
        skipped=tuple(frames.skipped) if isinstance(frames, Frames) else (),
    )


def _write_cache(folder: Path, split: Split) -> None:
    # The description is written last: where it stands, all the rest is whole.
    for field in fields(split):
        value = getattr(split, field.name)
        if isinstance(value, torch.Tensor):
            with atomic_file(folder / f"{field.name}.npy", "wb") as file:
                np.save(file, value.numpy())
    with atomic_file(folder / "split.json") as file:
        json.dump({"group_names": split.group_names, "keys": split.keys, "skipped": split.skipped}, file)


def _read_cache(folder: Path) -> Split | None:
    """Map the cached arrays into memory; None where there is no whole cache, which is then written anew."""
    values: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, EOFError):
        described = json.loads((folder / "split.json").read_text(encoding="utf-8"))
        for field in fields(Split):
            if field.name in described:
                values[field.name] = tuple(described[field.name])
            else:
                # Copy-on-write: pages come from the file as they are used, and a write stays in memory.
                array = np.load(folder / f"{field.name}.npy", mmap_mode="c", allow_pickle=False)
                values[field.name] = torch.from_numpy(array)
        split = Split(**values)
        if (
            len({len(split.images), len(split.labels), len(split.units), len(split.groups), len(split.keys)})
            == 1
        ):
            return split
    return None


def class_counts(labels: torch.Tensor, classes: Sequence[str]) -> dict[str, int]:
    """Count the samples of each class."""
    counts = torch.bincount(labels, minlength=len(classes)).tolist()
    return dict(zip(classes, counts, strict=True))
