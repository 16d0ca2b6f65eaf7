"""`deeprob predict`: an input through a trained run into a folder of predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from deeprob.data.batches.materialise import items_of
from deeprob.data.predictions.names import Names, Naming
from deeprob.data.source import Source
from deeprob.deploy.boxes import Boxing, boxing, from_detector, from_file
from deeprob.deploy.engine import weights_of, with_engine
from deeprob.deploy.given import Given
from deeprob.deploy.inputs import Input, Split, open_input
from deeprob.deploy.predictor import FramePredictions, Predictor, ahead, frame_like
from deeprob.deploy.record import Record
from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.schema.roots import PredictConfig
from deeprob.training.experiment import Experiment, load, on_device
from deeprob.training.sources import make_source
from deeprob.writing import check_writable

REMEMBERED = (
    *("input", "split", "every", "topic", "boxes", "detector", "detector_score"),
    *("min_score", "draw", "draw_score", "engine", "refine"),
)
_OF_INPUT = ("every", "topic", "intrinsics")


def predict_input(cfg: DictConfig) -> tuple[dict[str, Any], Path]:
    """Predict for the input of `cfg`. Returns what came of it, and the folder written.

    Raises InputError where the run, the input, the boxes or the folder do not fit.
    """
    if cfg.run is None:
        raise InputError("nothing to predict with", expected="run=<run folder>")
    if (not cfg.input) == (cfg.data is None):
        raise InputError("nothing to look at", expected="either input=... or data=<data set> split=...")
    for key in _OF_INPUT if cfg.data is not None else ("split",):
        if cfg[key] != getattr(PredictConfig(), key):
            raise InputError(
                f"{key}={cfg[key]}", expected=f"it with {'input' if key in _OF_INPUT else 'data'}=..."
            )
    for name in ("min_score", "draw_score", "detector_score"):
        if cfg[name] is not None and not 0 <= cfg[name] <= 1:
            raise InputError(f"{name}={cfg[name]:g}", expected="0 to 1")
    if cfg.on_bad_sample not in ("skip", "error"):
        raise InputError(f"on_bad_sample={cfg.on_bad_sample}", expected="skip or error")
    run = Run.find(cfg.run)
    if cfg.out is None:
        check_writable(run.path, "choose another out=")
    experiment = opened(run, cfg.checkpoint, list(cfg.allowed_targets), cfg.device)
    weights = [weights_of(experiment.model)]
    if cfg.refine:
        experiment.task.refine(experiment.model)
    experiment = with_engine(experiment, cfg.engine, run.path / "export")
    source = None if cfg.data is None else make_source(cfg)
    split = None if source is None else str(cfg.split)
    predictor = Predictor(experiment, split, cfg.batch_size)
    if cfg.draw and predictor.view.sees_clouds:
        raise InputError("clouds of points have no drawing", fix="leave out draw=true")
    given = input_of(cfg, predictor, source)
    names = NamesThere(experiment, source, split)
    boxes = boxing(predictor.view, _boxes(cfg, predictor, names, weights), labelled=source is not None)
    keep = Keep(cfg.min_score, list(cfg.classes), experiment.data.classes)
    out = Path(cfg.out).expanduser() if cfg.out else run.path / "predictions" / given.name
    asked = {key: cfg[key] for key in REMEMBERED}
    asked["intrinsics"] = list(cfg.intrinsics)
    asked["data"] = None if cfg.data is None else OmegaConf.to_container(cfg.data.source, resolve=True)
    asked["weights"] = weights
    asked |= {"run": str(run.path.resolve()), "checkpoint": cfg.checkpoint, "classes": list(cfg.classes)}
    with Record(out, asked, predictor.task.output(names)) as record:
        record.check_goes_on(given.keys)
        seconds, seen = _stream(cfg, given, predictor, boxes, keep, record)
        speed = seen / seconds if seen and seconds else None
        film = given.rate if cfg.draw else None
        remarks = predictor.task.remarks(experiment.predictor or experiment.model)
        facts = record.finish(film, {"images_per_second": speed, "remarks": remarks})
    if facts["frames"] and facts["skipped"] == facts["frames"]:
        raise InputError(f"none of {facts['frames']} frames could be read: {facts['first_reasons'][0]}")
    return facts, out


def opened(run: Run, checkpoint: str | None, allowed: list[str], device: str | None) -> Experiment:
    """A run's model, ready to predict, without its data. checkpoint: None takes that of its evaluation."""
    return on_device(load(run, checkpoint, allowed, with_data=False), device)


def input_of(cfg: DictConfig, predictor: Predictor, source: Source | None) -> Input:
    """The input that a config names."""
    if source is not None:
        split = str(cfg.split)
        if split not in source.splits:
            raise InputError(f"no split {split!r}", where=source.name, expected=" or ".join(source.splits))
        return Split(f"{source.name}-{split}", items_of(source, split, predictor.view))
    return open_input(
        str(cfg.input),
        clouds=predictor.view.sees_clouds,
        every=cfg.every,
        topic=cfg.topic,
        K=_matrix(list(cfg.intrinsics)),
    )


def _matrix(intrinsics: list[float]) -> NDArray[np.float64] | None:
    if not intrinsics:
        return None
    if len(intrinsics) != 4 or not all(np.isfinite(intrinsics)) or min(intrinsics[:2]) <= 0:
        raise InputError(f"intrinsics={intrinsics}", expected="[fx, fy, cx, cy], pixels")
    fx, fy, cx, cy = intrinsics
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def _boxes(cfg: DictConfig, predictor: Predictor, names: NamesThere, weights: list[str]) -> Boxing | None:
    """Where a model of crops finds its boxes. weights: those of a detector are added to them."""
    if cfg.boxes and cfg.detector:
        raise InputError("boxes and detector", expected="one of them")
    if cfg.detector_score != PredictConfig().detector_score and not cfg.detector:
        raise InputError(f"detector_score={cfg.detector_score:g}", expected="it with detector=<run folder>")
    classes, kind = predictor.experiment.data.classes, predictor.view.boxes
    if not kind and (cfg.boxes or cfg.detector):
        raise InputError("this run's model takes whole frames", fix="leave out boxes= and detector=")
    if cfg.boxes:
        return from_file(Path(cfg.boxes).expanduser(), classes, names.names, kind)
    if cfg.detector:
        other_run = Run.find(cfg.detector)
        other = opened(other_run, None, list(cfg.allowed_targets), cfg.device)
        weights.append(weights_of(other.model))
        other = with_engine(other, cfg.engine, other_run.path / "export")
        return from_detector(Predictor(other), cfg.detector_score, classes, kind)
    return None


class NamesThere(Naming):
    """Images by the numbers of the data set that is looked at, the run's classes by those they have there."""

    def __init__(self, experiment: Experiment, source: Source | None, split: str | None) -> None:
        own = experiment.data
        self.classes = own.classes
        there = own.source if source is None else source
        self.names = Names(there, split or next(iter(there.splits), ""))
        self._there = own.classes if source is None else tuple(source.classes)

    def of_key(self, key: str) -> dict[str, Any]:
        return self.names.of_key(key)

    def of_class(self, class_id: int) -> int | str:
        name = self.classes[class_id]
        return self.names.of_class(self._there.index(name)) if name in self._there else name


class Keep:
    """Which predictions are kept: with at least a score, and of some classes. Raises InputError."""

    def __init__(self, min_score: float, wanted: list[str], classes: tuple[str, ...]) -> None:
        for name in wanted:
            if name not in classes:
                raise InputError(f"no class {name!r}", where="classes", expected=", ".join(classes))
        self.min_score = min_score
        self.ids = {classes.index(name) for name in wanted} or None

    def __call__(self, predictions: list[Any]) -> list[Any]:
        if self.ids is None and self.min_score <= 0:
            return predictions
        if not all(hasattr(one, "score") for one in predictions):
            raise InputError("these predictions have no scores", fix="leave out min_score and classes")
        return [
            one
            for one in predictions
            if one.score >= self.min_score and (self.ids is None or one.class_id in self.ids)
        ]


def _stream(
    cfg: DictConfig,
    given: Input,
    predictor: Predictor,
    boxes: Boxing | None,
    keep: Keep,
    record: Record,
) -> tuple[float, int]:
    """Predict what is not recorded yet. Returns the seconds that took, and for how many frames."""
    first, count = record.count, given.count
    least = predictor.task.drawn_from if cfg.draw_score is None else cfg.draw_score
    drawn = (lambda one: getattr(one, "score", least) >= least) if cfg.draw else None
    stream: Iterator[Given] = ahead(given.given(first))
    started = time.perf_counter()
    with _progress() as bar:
        task = bar.add_task("", total=count, completed=first, speed="")
        try:
            for predicted in predictor(stream if boxes is None else boxes(stream)):
                _write(predicted, predictor, keep, record, drawn, cfg.on_bad_sample)
                speed = (record.count - first) / (time.perf_counter() - started)
                bar.update(task, completed=record.count, speed=f"{speed:.1f} images/s")
        except KeyboardInterrupt:
            if count is not None:
                raise
            # of a camera, the end
    return time.perf_counter() - started, record.count - first


def _write(
    predicted: FramePredictions,
    predictor: Predictor,
    keep: Keep,
    record: Record,
    drawn: Callable[[Any], bool] | None,
    on_bad: str,
) -> None:
    if predicted.predictions is None:
        if on_bad == "error":
            raise InputError(predicted.why, fix="on_bad_sample=skip leaves it out")
        return record.add(predicted)
    kept = keep(predicted.predictions)
    frame = frame_like(predicted.given)
    picture = None if drawn is None else predictor.task.draw(frame, [p for p in kept if drawn(p)])
    record.add(FramePredictions(predicted.given, kept), picture)


def _progress() -> Progress:
    columns = (BarColumn(), TextColumn("{task.completed}/{task.total}"), TextColumn("{task.fields[speed]}"))
    return Progress(*columns, TimeRemainingColumn(), transient=True)
