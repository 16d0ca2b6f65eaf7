"""Batches of frames that are made anew at every visit, as a simulator does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deeprob.data.batches.batch import AnyBatch, Collate
from deeprob.data.batches.materialise import Gathering, View
from deeprob.data.batches.samples import Samples
from deeprob.data.batches.store import Budget, Columns
from deeprob.data.source import Source

VISITS = 1 << 31  # looks of a frame to draw from


@dataclass(frozen=True, eq=False)
class FreshFrames(Samples):
    """The frames of a split, each a sample that gives as many of a view's as are seen in it this time.

    samples_per_frame: how many that is on average.
    """

    samples_per_frame: float

    @classmethod
    def of(cls, source: Source, split: str, seen: Samples) -> FreshFrames:
        """Describe a source's frames. seen: a view's samples of the split, from the first visit."""
        count = len(source.frames(split))
        frames = torch.arange(count)
        keys = tuple(f"{split} frame {i}" for i in range(count))
        together = torch.zeros(count, dtype=torch.int64)
        return cls(len(seen) / count, units=frames, groups=together, group_names=(split,), keys=keys)


@dataclass(frozen=True)
class FreshCollate:
    """Makes the frames of a batch, and cuts what the view sees in them.

    The batch is a function of its generator alone; how many samples it has depends on what is seen.
    """

    source: Source
    split: str
    view: View
    collate: Collate

    def __call__(self, frames: Any, indices: Tensor, generator: torch.Generator) -> AnyBatch:
        gathering = Gathering(self.source, self.view, Columns(Budget(math.inf), None))
        while not gathering.keys:  # where nothing is seen, the frames are looked at again
            visits = torch.randint(1, VISITS, (len(indices),), generator=generator)
            for index, visit in zip(indices.tolist(), visits.tolist(), strict=True):
                frame = self.source.visit(self.split, index, visit)
                gathering.add(frame, self.view.rows(frame, self.split))
        samples = gathering.finish()
        return self.collate(samples, torch.arange(len(samples)), generator)
