"""A trained model on a stream of frames: the same samples, batches and `Task.predict` as evaluation.

Frames are gathered into batches of samples of exactly the size that evaluation takes, a frame's crops in two
batches where they fall so: what is predicted for the frames of a split is then, bit by bit, what evaluation
measures there.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from deeprob.data.batches.batch import Collate
from deeprob.data.batches.materialise import Gathering, View
from deeprob.data.batches.samples import Rows
from deeprob.data.batches.store import Budget, Columns
from deeprob.data.frame import Frame
from deeprob.deploy.given import Given, without_labels
from deeprob.errors import InputError
from deeprob.training.experiment import Experiment

NEW = "predict"  # the split that new clouds of points belong to
T = TypeVar("T")


@dataclass(frozen=True)
class FramePredictions:
    """What the model says of a frame; predictions: None where it could not be read or seen, `why` says."""

    given: Given
    predictions: list[Any] | None
    why: str = ""


@dataclass
class _Seen:
    """A frame, the samples in it, and what is predicted of the first of them so far."""

    given: Given
    rows: Rows | None
    why: str = ""
    found: list[Any] = field(default_factory=list)

    @property
    def missing(self) -> int:
        return 0 if self.rows is None else len(self.rows.keys) - len(self.found)


class Predictor:
    """A trained model on a stream of frames.

    split: of the data set that the frames are of; None for new ones. batch_size: samples at a time; None
    takes that of the run's evaluation.
    """

    def __init__(
        self, experiment: Experiment, split: str | None = None, batch_size: int | None = None
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size={batch_size}", expected="1 or more")
        data = experiment.data
        view: Any = data.view
        self.view: View = view.as_taken(NEW) if view.sees_clouds and split is None else view
        self.experiment, self.task = experiment, experiment.task
        self.split = split or NEW
        self.batch_size = batch_size or data.eval_batch_size
        self.collate: Collate = self.view.collate(data.mean, data.std)
        experiment.model.eval()

    def __call__(self, stream: Iterable[Given]) -> Iterator[FramePredictions]:
        """Give the predictions for each frame, in order; at most a batch and its frames are held."""
        pending: deque[_Seen] = deque()
        waiting = 0
        for given in stream:
            seen = self._see(given)
            pending.append(seen)
            waiting += seen.missing
            while waiting >= self.batch_size:
                waiting -= self._step(pending)
            yield from self._done(pending)
        while waiting:
            waiting -= self._step(pending)
        yield from self._done(pending)

    def _see(self, given: Given) -> _Seen:
        """The samples in a frame, as the view sees them."""
        item = given.item
        if item is None:
            return _Seen(given, None, given.why)
        if isinstance(item, Frame) and not self.view.boxes and not self.view.sees_clouds:
            item = without_labels(item)
        try:
            return _Seen(given, self.view.rows(item, self.split))
        except InputError as error:
            return _Seen(given, None, str(error))

    def _step(self, pending: deque[_Seen]) -> int:
        """Predict for the next batch of samples. Returns how many they are."""
        unfinished = (seen for seen in pending if seen.missing)
        taken: list[_Seen] = []
        count = 0
        gathering = Gathering(self.experiment.data.source, self.view, Columns(Budget(1e9), None))
        for seen in unfinished:
            assert seen.given.item is not None
            assert seen.rows is not None
            gathering.add(seen.given.item, seen.rows)
            taken.append(seen)
            count += seen.missing
            if count >= self.batch_size:
                break
        first, count = len(taken[0].found), min(count, self.batch_size)
        index = torch.arange(first, first + count)
        batch = self.collate(gathering.finish(), index, torch.Generator())
        predictions = iter(self.experiment.predict_batch(batch))
        for seen in taken:
            seen.found += itertools.islice(predictions, seen.missing)
        return count

    def _done(self, pending: deque[_Seen]) -> Iterator[FramePredictions]:
        """Take the frames off whose samples are all predicted."""
        while pending and not pending[0].missing:
            seen = pending.popleft()
            if seen.rows is None:
                yield FramePredictions(seen.given, None, seen.why)
                continue
            predicted: list[Any] = []
            if seen.rows.keys:
                frame = frame_like(seen.given)
                predicted = self.task.frame_predictions(frame, seen.rows.keys, seen.found)
            yield FramePredictions(seen.given, predicted)


def frame_like(given: Given) -> Frame:
    """The frame of an input; of a cloud of points, a frame without an image that has its name."""
    item = given.item
    if isinstance(item, Frame):
        return item
    import numpy as np

    return Frame(np.zeros((1, 1, 3), np.uint8), (), "", given.key, given.key)


def ahead(stream: Iterable[T], count: int = 16) -> Iterator[T]:
    """The same stream, read in a thread up to `count` before it is asked for."""
    made: queue.Queue[Any] = queue.Queue(count)
    stopped = threading.Event()

    def put(value: tuple[str, Any]) -> bool:
        while not stopped.is_set():
            try:
                made.put(value, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for value in stream:
                if not put(("next", value)):
                    return
            put(("end", None))
        except BaseException as error:  # raised where the stream is asked for
            put(("error", error))

    thread = threading.Thread(target=read, name="input", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = made.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stopped.set()
