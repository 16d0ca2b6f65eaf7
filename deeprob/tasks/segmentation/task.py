"""Semantic segmentation: a class for every pixel; 0 is the background, class i is i + 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from deeprob.data.frame import Frame, Instance
from deeprob.data.predictions.files import Predicted
from deeprob.data.predictions.names import Naming
from deeprob.data.predictions.outputs import LabelMapOutput, Output, write_label_map
from deeprob.metrics import segmentation
from deeprob.metrics.scores import Scores, SummedScores
from deeprob.metrics.segmentation import METRICS
from deeprob.page import drawn
from deeprob.page.overlays import Image
from deeprob.tasks.base import EvaluationOptions, Loss, PseudoLabelled
from deeprob.tasks.deployed import Argmax, Deployed
from deeprob.tasks.frames import RANDOM, FramePredictor, FrameTask
from deeprob.tasks.pseudo_labels import check_places, label_by_class
from deeprob.tasks.segmentation import baselines
from deeprob.tasks.segmentation.labels import IGNORED, label_map_of, logits_of
from deeprob.tasks.segmentation.losses import LabelMapLoss
from deeprob.tasks.segmentation.meter import LabelMapMeter
from deeprob.writing import write_json

LabelMap = NDArray[np.int64]


class Segmentation(FrameTask):
    """A class for every pixel. The model is a segmenter (deeprob.models.segmentation).

    In training, a network with an auxiliary head gives its logits too.
    """

    name = "segmentation"
    title = "Semantic segmentation"
    headline = "miou"
    counted = "images"
    headlines = ("miou", "boundary_f1", "pixel_accuracy")
    per_class = ("class_iou",)
    legend = "Left: the predicted classes. Right, in red: pixels of a wrong class."

    def loss(self, model: nn.Module, batch: Any) -> Loss:
        """Softmax cross-entropy, the mean over the pixels that have a label."""
        return LabelMapLoss()(self, model, batch)

    def predict(self, model: nn.Module, batch: Any) -> list[LabelMap]:
        """The label map of each frame, int64 (H, W) in the frame's own pixels."""
        asked: Any = model
        apart = getattr(asked, "is_asked_often", False)
        scores = asked.segment(batch.images) if apart else logits_of(model, batch)[0]
        maps = scores.argmax(1).byte().cpu().numpy()
        return [
            _in_frame(m, matrix, size)
            for m, matrix, size in zip(maps, batch.matrices.numpy(), batch.sizes.tolist(), strict=True)
        ]

    def pseudo_labelled(
        self,
        model: nn.Module,
        weak: Any,
        strong: Any,
        threshold: float,
        soft: bool = False,
        aligned: Callable[[Tensor], Tensor] = lambda p: p,
    ) -> PseudoLabelled:
        check_places(weak, strong, soft)
        return label_by_class(logits_of(model, weak)[0], strong, threshold, soft, aligned, IGNORED)

    @classmethod
    def prediction_of(cls, predicted: list[LabelMap]) -> LabelMap:
        return predicted[0]

    @classmethod
    def predictor_of(cls, predicted: Predicted) -> FramePredictor:
        return lambda _, frame: predicted.label_map(frame)

    def truths(self, samples: Any, batch: Any) -> list[Frame]:
        return [
            _frame_of(_in_frame(labels.byte().numpy(), matrix.numpy(), size.tolist()), samples.keys[i])
            for labels, matrix, size, i in zip(
                batch.labels.cpu(), batch.matrices, batch.sizes, batch.indices.tolist(), strict=True
            )
        ]

    def meter(self, samples: Any) -> LabelMapMeter:
        return LabelMapMeter(self.data.classes, "frame")

    def baselines(
        self, samples: Any, found: Mapping[str, Any], options: EvaluationOptions
    ) -> dict[str, FramePredictor | None]:
        """The labels of another image, and, learned from the training split, `majority` and `linear`."""
        wanted = [name for name in options.baselines if name in ("majority", "linear")]
        if not wanted or "train" not in self.data.splits:
            return {RANDOM: None}
        train = self.data.split("train")
        made = {
            "majority": lambda: baselines.majority(train),
            "linear": lambda: baselines.softmax_regression(train, len(self.data.classes), options.seed),
        }
        return {RANDOM: None, **{name: made[name]() for name in wanted}}

    @classmethod
    def frame_meter(cls, source: Any, unit: str) -> LabelMapMeter:
        return LabelMapMeter(("background", *source.classes), unit)

    @classmethod
    def truth_of(cls, frame: Frame) -> LabelMap:
        labels = label_map_of(frame)
        return np.where(labels == IGNORED, 0, labels)

    def write(self, found: Mapping[str, LabelMap], split: str, file: Path) -> FramePredictor:
        for key, labels in found.items():
            write_label_map(file / PurePosixPath(key).with_suffix(".png"), labels)
        write_json(file / "classes.json", dict(enumerate(self.data.classes)))
        return lambda _, frame: found[frame.key]

    def frame_predictions(
        self, frame: Frame, keys: Sequence[str], predictions: Sequence[LabelMap]
    ) -> list[LabelMap]:
        return list(predictions)

    def deployed(self, model: nn.Module) -> Deployed:
        outputs = {"labels": "uint8 (N, H, W), index into classes for each pixel of the input image"}
        return Deployed(Argmax(model), outputs)

    def output(self, names: Naming) -> Output:
        return LabelMapOutput()

    def draw(self, frame: Frame, predicted: Sequence[LabelMap]) -> Image:
        return drawn.label_map(frame.image, predicted[0], self.data.classes)

    @classmethod
    def predictions_file(cls, split: str) -> str:
        return f"predictions_{split}"

    @classmethod
    def scores_from(cls, arrays: Mapping[str, Any]) -> Scores:
        return SummedScores.of_arrays(arrays, METRICS, segmentation.metrics_of_sums)


def _in_frame(labels: NDArray[np.uint8], matrix: NDArray[np.float64], size: list[int]) -> LabelMap:
    """A label map of the network's size in a frame of (height, width) pixels; matrix: frame to network."""
    moved: Any = cv2.warpAffine(
        labels, matrix[:2], (size[1], size[0]), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    return np.asarray(moved, np.int64)


def _frame_of(labels: LabelMap, key: str) -> Frame:
    """A frame that has these labels."""
    marked = {
        int(value): Instance(int(value) - 1, np.zeros(4), mask=labels == value) for value in np.unique(labels)
    }
    crowds = tuple(instance for value, instance in marked.items() if value == IGNORED)
    instances = tuple(instance for value, instance in marked.items() if value not in (0, IGNORED))
    return Frame(np.empty((*labels.shape, 3), np.uint8), instances, "", key, key, crowds=crowds)
