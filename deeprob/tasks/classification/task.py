"""Classification: one class for every crop, or for every cloud of points."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.batches.samples import Samples
from deeprob.data.frame import Frame
from deeprob.data.predictions.files import Classified
from deeprob.data.predictions.names import Naming
from deeprob.data.predictions.outputs import ClassOutput, Output
from deeprob.errors import InputError
from deeprob.geometry.boxes import of_image
from deeprob.layers import cross_entropy
from deeprob.metrics.classification import Floats, softmax
from deeprob.metrics.scores import Evaluation, Scores
from deeprob.page import drawn
from deeprob.page.overlays import Image
from deeprob.tasks.base import EvaluationOptions, Loss, Page, Predict, PseudoLabelled, Task
from deeprob.tasks.classification import baselines
from deeprob.tasks.classification.learned import template_pictures
from deeprob.tasks.classification.measure import measure
from deeprob.tasks.classification.meter import ClassificationMeter, scores_of
from deeprob.tasks.classification.page import page_of
from deeprob.tasks.classification.predictions import Predictions, most_telling, thumbnails
from deeprob.tasks.deployed import Deployed, Softmax
from deeprob.tasks.pseudo_labels import label_by_class

IGNORED = -100
"""The class of a sample without a label."""


class Classification(Task):
    """One class a sample. The model gives logits (B, C)."""

    name = "classification"
    title = "Classification"
    headline = "top1_accuracy"
    labels_have_places = False

    def loss(self, model: nn.Module, batch: Any) -> Loss:
        """Softmax cross-entropy of logits (B, C) with `batch.labels`, the mean over the batch."""
        logits = logits_of(model, batch)
        return with_accuracy(cross_entropy(logits, batch.labels), logits, batch.labels)

    def predict(self, model: nn.Module, batch: Any) -> Floats:
        """Probabilities float64 (B, C)."""
        return softmax(model(batch[0]).float().cpu().numpy())

    def frame_predictions(
        self, frame: Frame, keys: Sequence[str], predictions: Sequence[Floats]
    ) -> list[Classified]:
        # An object's number in its frame is the last word of its key; of a cloud it says nothing.
        places = [i.box_xyxy for i in frame.instances]
        boxes = [places[int(key.rpartition(" ")[2])] if places else None for key in keys]
        return [
            Classified(int(row.argmax()), float(row.max()), np.asarray(row), box)
            for row, box in zip(predictions, boxes, strict=True)
        ]

    def deployed(self, model: nn.Module) -> Deployed:
        return Deployed(Softmax(model), {"probabilities": "float32 (N, C), of each of the classes"})

    def output(self, names: Naming) -> Output:
        return ClassOutput(self.data.classes)

    def draw(self, frame: Frame, predicted: Sequence[Classified]) -> Image:
        whole = of_image(frame.image.shape)
        found = [
            (
                whole if one.box_xyxy is None else one.box_xyxy,
                one.class_id,
                f"{self.data.classes[one.class_id]} {one.score:.2f}",
            )
            for one in predicted
        ]
        return drawn.boxes(frame.image, found)

    def prior(self) -> torch.Tensor:
        labels = self.data.labelled_samples.labels
        return torch.bincount(labels, minlength=len(self.data.classes)).float() / len(labels)

    def pseudo_labelled(
        self,
        model: nn.Module,
        weak: Any,
        strong: Any,
        threshold: float,
        soft: bool = False,
        aligned: Callable[[torch.Tensor], torch.Tensor] = lambda p: p,
    ) -> PseudoLabelled:
        return label_by_class(logits_of(model, weak), strong, threshold, soft, aligned, IGNORED)

    def adopted(self, samples: Any, there: PerceptionData) -> Any:
        classes = list(self.data.classes)
        index = torch.tensor([classes.index(name) for name in there.classes])
        return replace(samples, labels=index[samples.labels])

    def meter(self, samples: Samples) -> ClassificationMeter:
        return ClassificationMeter(len(self.data.classes))

    def evaluate(
        self, predict: Predict, samples: Any, options: EvaluationOptions, file: Path, split: str
    ) -> Evaluation:
        labels = samples.labels.cpu().numpy()
        found = [probabilities for _, probabilities in predict(samples, f"evaluating {split}")]
        probabilities = np.concatenate(found)
        of_baselines: dict[str, Floats] = {}
        train: Any = self.data.labelled_samples if "train" in self.data.splits else None
        for name in options.baselines if train is not None else ():
            with predict.status(f"baseline {name}"):
                of_baselines[name] = baselines.predict(
                    name,
                    train.descriptors(),
                    train.labels,
                    samples.descriptors(),
                    num_classes=len(self.data.classes),
                    neighbours=options.neighbours,
                )
        shown = most_telling(probabilities, labels)
        predictions = Predictions(
            probabilities,
            labels,
            samples.units.cpu().numpy(),
            list(samples.keys),
            list(self.data.classes),
            of_baselines,
            thumbnails(samples.pictures(torch.from_numpy(shown))),
            shown,
            templates=template_pictures(predict.model),
            groups=[samples.group_names[i] for i in samples.groups.tolist()],
            attributes=samples.attributes.cpu().numpy(),
        )
        evaluation = measure(
            predictions, samples=options.bootstrap_samples, seed=options.seed, status=predict.status
        )
        with predict.status("writing the predictions"):
            predictions.save(file)
        return evaluation

    @classmethod
    def predictions_file(cls, split: str) -> str:
        return f"predictions_{split}.npz"

    @classmethod
    def read_scores(cls, file: Path) -> tuple[Scores, str]:
        found = Predictions.load(file)
        digest = hashlib.sha256(found.labels.tobytes() + found.units.tobytes())
        digest.update("\0".join([*found.classes, "", *found.keys]).encode())
        return scores_of(found.probabilities, found.labels, found.units), digest.hexdigest()

    @classmethod
    def page(cls, results: Mapping[str, Any], file: Path, folder: Path) -> Page:
        return page_of(results, Predictions.load(file), folder)


def logits_of(model: nn.Module, batch: Any) -> torch.Tensor:
    """What a classifier gives for a batch. Raises InputError for a model of another task."""
    logits = model(batch[0])
    if not isinstance(logits, torch.Tensor):
        raise InputError(
            "the model gives no logits of classes",
            expected="a classifier, such as model=resnet_small",
            fix="a detector takes data/view=detection objective=supervised",
        )
    return logits


def with_accuracy(loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> Loss:
    """The loss, and beside it how often the largest logit is the label's: the part of the samples, or points.

    logits: (B, C), or (B, C, P) where each of P places has a label. labels: int64 (B,) or (B, P), or the
    fraction of each class float32 (B, C).
    """
    if labels.is_floating_point():
        labels = labels.argmax(1)
    correct = (logits.detach().argmax(1) == labels).float()
    share = correct.flatten(1).mean(1).sum() if correct.dim() > 1 else correct.sum()
    return Loss(loss, {"top1_accuracy": share / len(labels)})
