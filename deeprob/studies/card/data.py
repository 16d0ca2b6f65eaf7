"""Facts about a data set for the card: counts, leakage between the splits, a contact sheet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.batches.samples import Samples
from deeprob.data.inspect import contact_sheet
from deeprob.errors import InputError
from deeprob.writing import atomic_file

CHUNK = 1024  # samples hashed at a time


@dataclass(frozen=True)
class SplitFacts:
    """samples, units, groups: how many; classes: class -> samples, nothing where labels are no classes."""

    samples: int
    units: int
    groups: int
    classes: dict[str, int]
    skipped: int


@dataclass(frozen=True)
class Leak:
    """Two splits that share groups (recordings, scenes) or exactly equal images; each as its name or key."""

    splits: tuple[str, str]
    groups: list[str]
    duplicates: list[tuple[str, str]]


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set. bytes_on_disk: of its root, None where that is no folder."""

    source: str
    real: bool
    classes: tuple[str, ...]
    splits: dict[str, SplitFacts]
    leaks: list[Leak] = field(default_factory=list)
    bytes_on_disk: int | None = None

    @property
    def clean(self) -> bool:
        """Whether no two splits share a group or an image."""
        return not any(leak.groups or leak.duplicates for leak in self.leaks)


def data_facts(data: PerceptionData, root: Path | None = None) -> DataFacts:
    """Read every split and compare them pairwise. Raises InputError for bad data."""
    splits = {name: data.split(name) for name in data.splits}
    hashes = {name: dict(_hashes(split)) for name, split in splits.items()}
    groups = {
        name: {split.group_names[i] for i in torch.unique(split.groups).tolist()}
        for name, split in splits.items()
    }
    names = list(splits)
    leaks = [
        Leak(
            (a, b),
            sorted(groups[a] & groups[b]),
            [(hashes[a][digest], hashes[b][digest]) for digest in hashes[a] if digest in hashes[b]],
        )
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    return DataFacts(
        source=data.source_name,
        real=bool(data.real),
        classes=tuple(data.classes),
        splits={name: _facts(split, data.classes) for name, split in splits.items()},
        leaks=leaks,
        bytes_on_disk=folder_bytes(root) if root is not None and root.is_dir() else None,
    )


def write_sheet(data: PerceptionData, path: Path, per_split: int = 4) -> bool:
    """Draw a few frames of every split with their labels into a JPEG; False where there are no frames."""
    source = data.source
    if source.has_clouds:
        return False
    drawn = []
    for split in source.splits:
        frames = source.frames(split)
        for index in np.unique(np.linspace(0, len(frames) - 1, per_split).astype(int)).tolist():
            drawn.append((f"{split}: {frames[index].key}", frames[index]))
    encoded, buffer = cv2.imencode(
        ".jpg", cv2.cvtColor(contact_sheet(drawn, source.classes), cv2.COLOR_RGB2BGR)
    )
    if not encoded:
        raise InputError("the contact sheet cannot be written", where=path)
    with atomic_file(path, "wb") as file:
        file.write(buffer.tobytes())
    return True


def folder_bytes(folder: Path) -> int:
    """The size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _facts(split: Samples, classes: tuple[str, ...]) -> SplitFacts:
    class_ids = split.class_ids
    counts = {}
    if isinstance(class_ids, torch.Tensor):
        counts = dict(zip(classes, torch.bincount(class_ids, minlength=len(classes)).tolist(), strict=False))
    return SplitFacts(
        samples=len(split),
        units=len(torch.unique(split.units)),
        groups=len(torch.unique(split.groups)),
        classes=counts,
        skipped=len(split.skipped),
    )


def _hashes(split: Any) -> Iterator[tuple[bytes, str]]:
    """Yield a digest of each sample's picture with its key."""
    for start in range(0, len(split), CHUNK):
        index = torch.arange(start, min(start + CHUNK, len(split)))
        pictures: NDArray[np.uint8] = split.pictures(index)
        for i, picture in zip(index.tolist(), pictures, strict=True):
            yield hashlib.sha256(np.ascontiguousarray(picture).tobytes()).digest(), split.keys[i]
