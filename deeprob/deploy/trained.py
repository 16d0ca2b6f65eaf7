"""A trained run as a library gives it: load it once, and ask it about images."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.frame import Frame, Instance
from deeprob.data.predictions.files import Box
from deeprob.data.readers.points import Cloud
from deeprob.deploy.boxes import boxing
from deeprob.deploy.given import Given, frame_of
from deeprob.deploy.predictor import Predictor
from deeprob.errors import InputError
from deeprob.metrics.scores import Scores
from deeprob.runs import Run
from deeprob.tasks.base import Task
from deeprob.tasks.frames import FrameTask
from deeprob.training.experiment import Experiment, load
from deeprob.training.inference import for_inference
from deeprob.training.sources import make_data

Boxes: TypeAlias = Sequence[Box] | NDArray[np.floating[Any]]
"""What a detector predicted, or an array (n, 4): left, top, right, bottom; 0 is the first pixel's centre."""


@dataclass(frozen=True)
class TrainedRun:
    """A trained run.

    run: its folder. experiment: model, task and what is known of the data.
    """

    run: Run
    experiment: Experiment
    _made: dict[int, Predictor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def load(cls, run: Run, checkpoint: str | None = None, allowed: list[str] | None = None) -> TrainedRun:
        """Load a run's model. The data set need not be there. Raises InputError as `deeprob.load`."""
        return cls(run, load(run, checkpoint, allowed, with_data=False))

    @property
    def model(self) -> nn.Module:
        """The network, in eval mode."""
        return self.experiment.model

    @property
    def task(self) -> Task:
        """What it was trained for: losses, predictions, metrics."""
        return self.experiment.task

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, by class_id."""
        return self.experiment.data.classes

    @functools.cached_property
    def data(self) -> PerceptionData:
        """The data set it was trained on, opened when first asked for. Raises InputError without it."""
        return make_data(self.experiment.cfg)

    @property
    def _predictor(self) -> Predictor:
        """Made when first asked for, and again once somebody has changed the weights."""
        version = sum(t._version for t in self.model.state_dict().values())
        if version not in self._made:
            self._made.clear()
            self._made[version] = Predictor(for_inference(self.experiment))
        return self._made[version]

    def predict(
        self,
        image: NDArray[Any] | Frame,
        boxes: Boxes | None = None,
        K: NDArray[np.floating[Any]] | None = None,
    ) -> list[Any]:
        """Predict for one image.

        image: uint8 (H, W, 3), RGB; or points (N, 3), metres, for a run on clouds. boxes: of objects, for a
        run that looks at those; a classifier without any takes the whole image. K: (3, 3), the camera's
        matrix.

        Returns a list: Box of a detector; Classified of a classifier, one a box; Pose; of a segmentation one
        label map int64 (H, W); of part segmentation the part int64 (P,) of each point that the view takes.
        All in the image's own pixels, and metres. Raises InputError for another input.
        """
        return next(self.predict_all([image], None if boxes is None else [boxes], K))

    def predict_all(
        self,
        images: Iterable[NDArray[Any] | Frame],
        boxes: Iterable[Boxes] | None = None,
        K: NDArray[np.floating[Any]] | None = None,
    ) -> Iterator[list[Any]]:
        """Predict for any number of images, in batches: a list for each, as `predict`."""
        boxed = boxing(self._predictor.view, None if boxes is None else (lambda s: iter(s)), labelled=False)
        stream: Iterable[Given] = self._given(images, boxes, K)
        for predicted in self._predictor(stream if boxed is None else boxed(stream)):
            if predicted.predictions is None:
                raise InputError(predicted.why)
            yield predicted.predictions

    def evaluate(self, frames: Iterable[Frame], predictions: Iterable[list[Any]]) -> Scores:
        """Score predictions, as `predict` gives them, for labelled frames. Raises InputError for crops."""
        if not isinstance(self.task, FrameTask):
            raise InputError(f"{self.task.title.lower()} has no predictions of frames to score")
        meter = self.task.frame_meter(self.experiment.data.source, "frame")
        for number, (frame, predicted) in enumerate(zip(frames, predictions, strict=True)):
            meter.add(number, frame, self.task.prediction_of(predicted))
        return meter.scores()

    def _given(
        self,
        images: Iterable[NDArray[Any] | Frame],
        boxes: Iterable[Boxes] | None,
        K: NDArray[np.floating[Any]] | None,
    ) -> Iterator[Given]:
        each = None if boxes is None else iter(boxes)
        for number, image in enumerate(images):
            item = self._item(image, f"image {number}", None if K is None else np.asarray(K, np.float64))
            if each is not None and isinstance(item, Frame):
                item = replace(item, instances=tuple(_instances(next(each))))
            yield Given(item.key, item)

    def _item(self, image: NDArray[Any] | Frame, key: str, K: NDArray[np.float64] | None) -> Frame | Cloud:
        if isinstance(image, Frame):
            return image
        if self._predictor.view.sees_clouds:
            points = np.asarray(image)
            if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
                raise InputError(f"points of shape {points.shape}", expected="finite (N, 3), metres")
            return Cloud(points.astype(np.float64), 0, "", key, key, None, np.zeros(len(points), np.int64))
        pixels = np.asarray(image)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise InputError(
                f"an image of {pixels.dtype} {pixels.shape}", expected="uint8 (H, W, 3), red first"
            )
        return frame_of(pixels, "", key, K)


def _instances(boxes: Boxes) -> Iterator[Instance]:
    for box in boxes:
        if isinstance(box, Box):
            yield Instance(box.class_id, box.box_xyxy, T_cam_obj=np.eye(4))
            continue
        corners = np.asarray(box, np.float64)
        if corners.shape != (4,) or not np.isfinite(corners).all():
            raise InputError(
                f"a box of shape {corners.shape}", expected="finite (4,): left, top, right, bottom"
            )
        yield Instance(0, corners, T_cam_obj=np.eye(4))
