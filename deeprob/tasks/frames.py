"""Tasks on whole frames: predictions in a frame's own pixels and metres, from a network or from a file.

A run writes its predictions in the field's format and is then evaluated exactly as that file would be: frame
by frame of the source, beside the labels of another image as the baseline.
"""

from __future__ import annotations

import hashlib
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from deeprob.data.frame import Frame
from deeprob.data.predictions.files import Predicted
from deeprob.errors import InputError
from deeprob.metrics.scores import Evaluation, Scores
from deeprob.page import pages
from deeprob.page.definitions import title
from deeprob.page.shown import path_of, read_shown
from deeprob.progress import Status, quiet
from deeprob.runs import Run
from deeprob.tasks.base import Block, EvaluationOptions, Page, Predict, Task
from deeprob.writing import atomic_file

RANDOM = "random"  # the baseline: the labels of another image

Drawing = tuple[str, str]
"""An SVG and its caption."""

FramePredictor = Callable[[int, Frame], Any]
"""What is predicted for frame number i of a split."""


class FrameMeter(Protocol):
    """Predictions beside the frames of a source."""

    def add(self, index: int, frame: Frame, predicted: Any) -> None: ...

    def scores(self) -> Scores: ...

    def evaluation(self, *, samples: int, seed: int, frames: Any, answer: FramePredictor) -> Evaluation:
        """All numbers. frames: of the split; answer: what was predicted for each, to draw the worst."""
        ...


class Chance:
    """Predicts for a frame the labels of another frame of the split, drawn at random.

    All frames are to be noted before the first is asked for. Labels of the same independent unit are used
    only where there is one unit alone.
    """

    def __init__(self, kind: type[FrameTask], unit: str, seed: int) -> None:
        self.kind, self.unit = kind, unit
        self.rng = np.random.default_rng([seed, 2])
        self._frames: list[tuple[int, str, tuple[int, ...]]] = []

    def unit_of(self, frame: Frame) -> str:
        """The name of a frame's independent unit."""
        return frame.group if self.unit == "group" else frame.key

    def note(self, index: int, frame: Frame) -> None:
        """Remember where a frame is found again."""
        self._frames.append((index, self.unit_of(frame), frame.image.shape))

    def predict(self, index: int, frame: Frame, frames: Any) -> Any:
        """What chance predicts for a frame. frames: of the split."""
        unit = self.unit_of(frame)
        same_size = [(i, of) for i, of, shape in self._frames if shape == frame.image.shape and i != index]
        others = [i for i, of in same_size if of != unit] or [i for i, _ in same_size]
        other = frames[others[int(self.rng.integers(len(others)))]] if others else None
        return self.kind.truth_of(replace(frame, instances=()) if other is None else other)


class FrameTask(Task):
    """A task whose predictions are of frames.

    counted: what the numbers count. headlines: the metrics to show first. per_class: the columns of the table
    by class. legend: of the pictures of the worst; whole: whether those show whole frames. own_drawings: what
    `own_blocks` show; the rest stand beside the table by class.
    """

    counted: ClassVar[str] = "objects"
    headlines: ClassVar[tuple[str, ...]]
    per_class: ClassVar[tuple[str, ...]]
    legend: ClassVar[str]
    whole: ClassVar[bool] = True
    own_drawings: ClassVar[Sequence[str]] = ()

    @classmethod
    @abstractmethod
    def frame_meter(cls, source: Any, unit: str) -> FrameMeter:
        """An empty meter. unit: `frame` or `group` is independent."""

    @classmethod
    @abstractmethod
    def truth_of(cls, frame: Frame) -> Any:
        """The prediction that is right about a frame."""

    def frame_predictions(self, frame: Frame, keys: Sequence[str], predictions: Sequence[Any]) -> list[Any]:
        found: dict[str, Any] = {}
        for key, prediction in zip(keys, predictions, strict=True):
            self.collect(found, key, prediction)
        return list(found.get(frame.key, ()))

    @classmethod
    def prediction_of(cls, predicted: list[Any]) -> Any:
        """What a meter takes, of the `frame_predictions` of a frame."""
        return predicted

    @classmethod
    def predictor_of(cls, predicted: Predicted) -> FramePredictor:
        """What a file of predictions says of each frame."""
        return predicted.of

    @classmethod
    def chance(cls, unit: str, seed: int) -> Chance:
        """The baseline that looks at no image."""
        return Chance(cls, unit, seed)

    @abstractmethod
    def write(self, found: Mapping[str, Any], split: str, file: Path) -> FramePredictor:
        """Write the predictions for each frame by its key; returns them as they read back."""

    def evaluate(
        self, predict: Predict, samples: Any, options: EvaluationOptions, file: Path, split: str
    ) -> Evaluation:
        found: dict[str, Any] = {}
        for batch, predictions in predict(samples, f"evaluating {split}"):
            for index, prediction in zip(batch.indices.tolist(), predictions, strict=True):
                self.collect(found, samples.keys[index], prediction)
        source, name = self.data.source, split.removeprefix(f"{self.data.source_name}-")
        frames = source.frames(name if name in source.splits else "train")  # "val" may be a part of it
        evaluation = evaluate_frames(
            type(self),
            source,
            frames,
            self.data.unit,
            self.write(found, name, file),
            self.baselines(samples, found, options) if options.baselines else {},
            samples=options.bootstrap_samples,
            seed=options.seed,
            keys=None if name in source.splits else set(found),
            status=predict.status,
        )
        _save_scores(evaluation.scores, sorted(found), _scores_file(file))
        return evaluation

    def baselines(
        self, samples: Any, found: Mapping[str, Any], options: EvaluationOptions
    ) -> Mapping[str, FramePredictor | None]:
        """What a model is compared with on the same frames. found: its own predictions by a frame's key."""
        return {RANDOM: None}

    def collect(self, found: dict[str, Any], key: str, prediction: Any) -> None:
        """Add the prediction for a sample to those of its frame; here a sample is a frame."""
        found[key] = prediction

    @classmethod
    def read_scores(cls, file: Path) -> tuple[Scores, str]:
        path = _scores_file(file)
        arrays = _read_arrays(path)
        try:
            keys = arrays.pop("keys").tolist()
            scores = cls.scores_from(arrays)
        except KeyError as error:
            raise InputError(
                f"scores without {error}",
                where=path,
                fix=f"run: deeprob evaluate {Run(path.parent).argument}",
            ) from None
        return scores, hashlib.sha256("\0".join(keys).encode()).hexdigest()

    @classmethod
    @abstractmethod
    def scores_from(cls, arrays: Mapping[str, Any]) -> Scores:
        """The scores whose `arrays()` these are."""

    @classmethod
    def page(cls, results: Mapping[str, Any], file: Path, folder: Path) -> Page:
        return cls.frame_page(results, read_shown(path_of(Run(folder), results["split"])))

    @classmethod
    def own_blocks(cls, results: Mapping[str, Any], drawings: Mapping[str, Drawing]) -> Sequence[Block]:
        """What only this task has to show, between its slices and its worst. drawings: of `own_drawings`."""
        return ()

    @classmethod
    def frame_page(cls, results: Mapping[str, Any], shown: Mapping[str, Any]) -> Page:
        """What a report shows. shown: drawings, and pictures of the worst."""
        drawings = shown["drawings"]
        beside = [drawing for name, drawing in drawings.items() if name not in cls.own_drawings]
        of_classes = results["per_class"].values()  # of an earlier version: it may lack a metric
        columns = [name for name in cls.per_class if all(name in entry for entry in of_classes)]
        classes = {"drawings": beside, "per_class": columns}
        worst = {"worst": shown["worst"], "legend": cls.legend, "frames": cls.whole}
        blocks = [Block("classes", "By class", "classes", classes)]
        if results.get("slices"):
            blocks.append(Block("slices", "Error slices", "slices", terms=(results["sliced"], "slices")))
        blocks += cls.own_blocks(
            results, {name: drawings[name] for name in cls.own_drawings if name in drawings}
        )
        if shown["worst"]:
            blocks.append(Block("worst", "Worst first", "worst", worst))
        return Page(
            abstract=cls._abstract(results),
            headline=cls.headlines,
            counted=cls.counted,
            blocks=blocks,
            drawings={name: drawing for name, (drawing, _) in drawings.items()},
            failures=shown["worst"],
            terms=[*columns, *(term for block in blocks for term in block.terms)],
        )

    @classmethod
    def _abstract(cls, results: Mapping[str, Any]) -> str:
        """The first number in words, against the baseline."""
        known = [name for name in cls.headlines if results["metrics"][name]["value"] is not None]
        metric = known[0] if known else cls.headlines[0]
        entry = results["metrics"][metric]
        text = f"{title(metric)} is {pages.fixed(entry['value'])}"
        if entry["ci95"]:
            text += f" (95 % interval {pages.fixed(entry['ci95'][0])} to {pages.fixed(entry['ci95'][1])})"
        for name, baseline in results["baselines"].items():
            other = "the labels of another image" if name == RANDOM else name
            text += f"; {pages.fixed(baseline[metric]['value'])} for {other}"
        split = results["split"]
        return f"{text}. {results['data'][split]:,} samples of {results['data']['source']}, {split} split."


def evaluate_frames(
    kind: type[FrameTask],
    source: Any,
    frames: Any,
    unit: str,
    answer: FramePredictor,
    baselines: Mapping[str, FramePredictor | None],
    *,
    samples: int,
    seed: int,
    keys: set[str] | None = None,
    status: Status = quiet,
) -> Evaluation:
    """Evaluate predictions for the frames of a split.

    baselines: name -> what it predicts; None: the labels of another frame. keys: only frames of these.
    status: shows what is done.
    """
    chance = kind.chance(unit, seed)

    def seen(heading: str) -> Iterator[tuple[int, Frame]]:
        with status(heading, len(frames)) as advance:
            for index, frame in _frames_of(frames):
                if keys is None or frame.key in keys:
                    yield index, frame
                advance()

    meter = kind.frame_meter(source, unit)
    for index, frame in seen("predictions"):
        meter.add(index, frame, answer(index, frame))
        chance.note(index, frame)
    with status("intervals"):
        evaluation = meter.evaluation(samples=samples, seed=seed, frames=frames, answer=answer)
    beside = {}
    for name, given in baselines.items():
        other = kind.frame_meter(source, unit)
        for index, frame in seen(name):
            predicted = chance.predict(index, frame, frames) if given is None else given(index, frame)
            other.add(index, frame, predicted)
        beside[name] = other.scores()
    return replace(evaluation, baselines=beside)


def _frames_of(frames: Any) -> Iterator[tuple[int, Frame]]:
    """The frames of a split with their numbers; those that are bad and skipped are left out."""
    read = getattr(frames, "read", frames.__getitem__)
    for index in range(len(frames)):
        frame = read(index)
        if frame is not None:
            yield index, frame


def _scores_file(file: Path) -> Path:
    return file.with_name(f"scores_{file.stem.removeprefix('predictions_')}.npz")


def _save_scores(scores: Scores, keys: Sequence[str], path: Path) -> None:
    """Keep scores and the frames that they are of, so that runs can be compared without their data."""
    with atomic_file(path, "wb") as file:
        arrays: dict[str, Any] = {"keys": np.asarray(keys, np.str_), **scores.arrays()}
        np.savez_compressed(file, **arrays)


def _read_arrays(path: Path) -> dict[str, Any]:
    fix = f"run: deeprob evaluate {Run(path.parent).argument}"
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError("no scores of this split", where=path, fix=fix) from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"broken scores ({error})", where=path, fix=fix) from None
