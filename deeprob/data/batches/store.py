"""Columns of a split while they are read, and on disk: in memory up to a budget, else mapped from a file."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeprob.data.batches.samples import Ragged, Rows, Samples
from deeprob.errors import InputError
from deeprob.writing import atomic_file, sweep

GIB = 2**30


class Budget:
    """Bytes that the columns of one split may hold in memory together."""

    def __init__(self, gigabytes: float) -> None:
        if not gigabytes >= 0:
            raise InputError(f"data.memory_budget_gb is {gigabytes}", expected="0 or more")
        self.left = gigabytes * GIB

    def take(self, size: int) -> bool:
        """Whether `size` more bytes fit; they are counted in any case."""
        self.left -= size
        return self.left >= 0


class Column:
    """One array made of blocks (k, ...) of one shape and dtype; over the budget it goes on in a file.

    The file has no name, in `folder` or where temporary files go: it is gone when the last tensor over it is.
    """

    def __init__(self, budget: Budget, folder: Path | None) -> None:
        self._budget, self._folder = budget, folder
        self._blocks: list[NDArray[Any]] = []
        self._file: BinaryIO | None = None
        self._length = 0

    def append(self, block: NDArray[Any]) -> None:
        """Add rows. Raises InputError where the disk is full."""
        fits = self._budget.take(block.nbytes)
        self._blocks.append(block)
        self._length += len(block)
        if not fits or self._file is not None:
            self._spill()

    def finish(self) -> Tensor:
        """All rows, (N, ...). A tensor over a file reads what is used of it, and is this process's own."""
        if self._file is None:
            return torch.from_numpy(np.concatenate(self._blocks))
        last = self._blocks[-1]
        shape = (self._length, *last.shape[1:])
        if not self._length:
            return torch.from_numpy(np.empty(shape, last.dtype))
        self._file.flush()
        return torch.from_numpy(np.memmap(self._file, last.dtype, mode="c", shape=shape))

    def _spill(self) -> None:
        try:
            if self._file is None:
                if self._folder is not None:
                    self._folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  mapped, then dropped
            for block in self._blocks:
                self._file.write(np.ascontiguousarray(block).tobytes())
        except OSError as error:
            raise InputError(
                f"{self._length} samples are over data.memory_budget_gb, and cannot be written to disk "
                f"({error.strerror or error})",
                where=self._folder or tempfile.gettempdir(),
                fix="free space there, or set paths.cache_dir",
            ) from error
        self._blocks = [self._blocks[-1][:0]]


class Columns:
    """All columns of a split while its frames are read."""

    def __init__(self, budget: Budget, folder: Path | None) -> None:
        self._budget, self._folder = budget, folder
        self._columns: dict[str, Column] = {}
        self._counts: dict[str, list[int]] = {}

    def append(self, rows: Rows) -> None:
        """Add the samples of one frame."""
        for name, block in rows.columns.items():
            self._column(name).append(block)
        for name, blocks in rows.ragged.items():
            counts = self._counts.setdefault(name, [])
            for block in blocks:
                self._column(name).append(block)
                counts.append(len(block))

    def finish(self) -> dict[str, Tensor | Ragged]:
        """Return each column by its name."""
        done: dict[str, Tensor | Ragged] = {name: column.finish() for name, column in self._columns.items()}
        for name, counts in self._counts.items():
            values = done[name]
            assert isinstance(values, Tensor)
            done[name] = Ragged(values, torch.tensor([0, *counts]).cumsum(0))
        return done

    def _column(self, name: str) -> Column:
        if name not in self._columns:
            self._columns[name] = Column(self._budget, self._folder)
        return self._columns[name]


def write_cache(folder: Path, samples: Samples) -> None:
    """Keep a split in a folder: an array file for each column, and split.json for the rest."""
    sweep(folder)
    # The description is written last: where it stands, all the rest is whole.
    described: dict[str, Any] = {"ragged": []}
    for name, value in _values(samples).items():
        if isinstance(value, Tensor):
            _write(folder / f"{name}.npy", value)
        elif isinstance(value, Ragged):
            described["ragged"].append(name)
            _write(folder / f"{name}.npy", value.values)
            _write(folder / f"{name}.offsets.npy", value.offsets)
        else:
            described[name] = value
    with atomic_file(folder / "split.json") as file:
        json.dump(described, file)


def read_cache(folder: Path, kind: type[Samples], gigabytes: float) -> Samples | None:
    """Read what `write_cache` wrote, or None where there is no whole cache, which is then written anew.

    Up to the budget it is read into memory; beyond, pages come from the files as they are used.
    """
    with contextlib.suppress(OSError, ValueError, EOFError, KeyError, TypeError):
        described: Mapping[str, Any] = json.loads((folder / "split.json").read_text(encoding="utf-8"))
        size = sum(path.stat().st_size for path in folder.glob("*.npy"))
        fits = Budget(gigabytes).take(size)
        values: dict[str, Any] = {}
        for field in fields(kind):
            name = field.name
            if name in described:
                values[name] = tuple(described[name])
            elif name in described["ragged"]:
                values[name] = Ragged(
                    _read(folder / f"{name}.npy", fits), _read(folder / f"{name}.offsets.npy", fits)
                )
            else:
                values[name] = _read(folder / f"{name}.npy", fits)
        samples = kind(**values)
        columns = [v for v in _values(samples).values() if isinstance(v, Tensor | Ragged)]
        if all(len(column) == len(samples) for column in columns):
            return samples
    return None


def _values(samples: Samples) -> dict[str, Any]:
    return {field.name: getattr(samples, field.name) for field in fields(samples)}


def _write(path: Path, values: Tensor) -> None:
    with atomic_file(path, "wb") as file:
        np.save(file, values.numpy())


def _read(path: Path, fits: bool) -> Tensor:
    # Copy-on-write where it is mapped: a write stays in this process.
    array = np.load(path, mmap_mode=None if fits else "c", allow_pickle=False)
    return torch.from_numpy(array)
