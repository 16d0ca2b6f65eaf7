"""Part segmentation: a part for every point of a cloud.

A shape's category is its class; the parts of a category are those that its shapes hold, in training and in
the split that is evaluated. A model may predict any part; one of another category is wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.cloud_sheet import draw_clouds
from deeprob.errors import InputError
from deeprob.layers import cross_entropy
from deeprob.metrics.classification import Floats, Integers
from deeprob.metrics.entries import as_entry
from deeprob.metrics.points import METRICS
from deeprob.metrics.scores import Evaluation, Scores, SummedScores
from deeprob.metrics.statistics import Intervals, bootstrap
from deeprob.page.drawn import COLOURS
from deeprob.page.pictures import data_uri
from deeprob.page.run_facts import split_name
from deeprob.runs import Run
from deeprob.tasks.base import Block, EvaluationOptions, Loss, Page, Predict, Task
from deeprob.tasks.classification.task import with_accuracy
from deeprob.tasks.deployed import Argmax, Deployed
from deeprob.tasks.part_segmentation.meter import PartsMeter, parts_of
from deeprob.tasks.part_segmentation.predictions import PartPredictions
from deeprob.tasks.part_segmentation.view import PartSamples

NUM_SHOWN = 24


class PartSegmentationTask(Task):
    """A part for each point. The model gives logits (B, C, P)."""

    name = "part_segmentation"
    title = "Part segmentation"
    headline = "instance_miou"
    earlier_names: ClassVar[Mapping[str, str]] = MappingProxyType({"top1_accuracy": "point_accuracy"})

    def loss(self, model: nn.Module, batch: Any) -> Loss:
        """Softmax cross-entropy of logits (B, C, P) with `batch.labels` (B, P), the mean over all points."""
        logits = model(batch[0])
        return with_accuracy(cross_entropy(logits, batch.labels), logits, batch.labels)

    def predict(self, model: nn.Module, batch: Any) -> Integers:
        """The most probable part of each point, int64 (B, P)."""
        return np.asarray(model(batch[0]).float().argmax(1).cpu().numpy())

    def deployed(self, model: nn.Module) -> Deployed:
        return Deployed(Argmax(model), {"parts": "uint8 (N, P), index into classes for each point"})

    def truths(self, samples: Any, batch: Any) -> tuple[Integers, PartSamples]:
        return batch.labels.cpu().numpy(), samples.take(batch.indices)

    def adopted(self, samples: Any, there: PerceptionData) -> Any:
        same = [tuple(data.classes) + tuple(data.source.classes) for data in (self.data, there)]
        return samples if same[0] == same[1] else None

    def meter(self, samples: Any) -> PartsMeter:
        categories = list(self.data.source.classes)
        known = [self.data.split("train")] if "train" in self.data.splits else []
        parts = parts_of(categories, *known, samples)
        return PartsMeter(categories, parts, len(self.data.classes))

    def evaluate(
        self, predict: Predict, samples: Any, options: EvaluationOptions, file: Path, split: str
    ) -> Evaluation:
        found = [(b.labels.cpu().numpy(), p) for b, p in predict(samples, f"evaluating {split}")]
        labels, predicted = (np.concatenate(of) for of in zip(*found, strict=True))
        categories, parts = list(self.data.source.classes), list(self.data.classes)
        meter = self.meter(samples)
        allowed = np.zeros((len(categories), len(parts)), bool)
        for row, name in zip(allowed, categories, strict=True):
            row[list(meter.metric.parts[name])] = True
        meter.update(predicted, (labels, samples))
        worst = meter.shape_scores().argsort(kind="stable")[:NUM_SHOWN]
        predictions = PartPredictions(
            labels,
            predicted,
            samples.labels.cpu().numpy(),
            samples.units.cpu().numpy(),
            list(samples.keys),
            categories,
            parts,
            worst,
            self._drawn(samples, worst, (labels, predicted)),
            allowed,
        )
        baselines = {"majority": self._majority(predictions)} if "majority" in options.baselines else {}
        scores = meter.scores()
        per_part, per_category = _by_part(predictions, scores, options.bootstrap_samples, options.seed)
        predictions.save(file)
        return Evaluation(scores, per_part, more={"per_category": per_category}, baselines=baselines)

    def _majority(self, predictions: PartPredictions) -> SummedScores:
        """The baseline that predicts the most frequent training part for every point."""
        of_training = self.data.split("train").parts.values.numpy()
        frequent = np.bincount(of_training, minlength=len(self.data.classes)).argmax()
        return predictions.scores(np.full_like(predictions.predicted, frequent))

    def _drawn(self, samples: Any, worst: Integers, parts: Sequence[Integers]) -> NDArray[np.uint8]:
        """Each of the worst shapes as labelled beside as predicted, uint8 (T, h, 2 h, 3)."""
        collate = self.data.view.collate(self.data.mean, self.data.std)
        points = collate(samples, torch.from_numpy(worst), torch.Generator())[0].numpy()
        drawn = [draw_clouds(list(points), list(COLOURS[of[worst] % len(COLOURS)])) for of in parts]
        return np.concatenate(drawn, axis=2)

    @classmethod
    def predictions_file(cls, split: str) -> str:
        return f"predictions_{split}.npz"

    @classmethod
    def read_scores(cls, file: Path) -> tuple[Scores, str]:
        found = PartPredictions.load(file)
        digest = hashlib.sha256(found.labels.tobytes() + found.units.tobytes())
        digest.update("\0".join([*found.parts, "", *found.keys]).encode())
        return found.scores(), digest.hexdigest()

    @classmethod
    def page(cls, results: Mapping[str, Any], file: Path, folder: Path) -> Page:
        if "per_category" not in results:
            raise InputError(
                "without per_category",
                where=folder / "results.json",
                fix=f"run: deeprob evaluate {Run(folder).argument}",
            )
        predictions = PartPredictions.load(file)
        legend = [
            (name, "#{:02x}{:02x}{:02x}".format(*COLOURS[i % len(COLOURS)].tolist()))
            for i, name in enumerate(predictions.parts)
        ]
        shapes: dict[str, Any] = {"shapes": _shapes(predictions), "legend": legend}
        return Page(
            abstract=_abstract(results),
            headline=METRICS,
            counted="shapes",
            blocks=[
                Block("parts-iou", "Parts and categories", "part_iou"),
                Block("shapes", "The worst shapes", "shapes", shapes),
            ],
            captions={"top1_accuracy": "Share of points labelled right, on augmented clouds in training."},
            failures=[
                {"image": s["image"], "said": f"{s['right']:.2f} right", "of": s["category"], "key": s["key"]}
                for s in shapes["shapes"]
            ],
            terms=["iou"],
        )


def _by_part(
    predictions: PartPredictions, scores: SummedScores, samples: int, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The IoU of each part over all points, and the mean IoU of each category's shapes."""
    metric, num_categories = predictions.metric, len(predictions.category_names)

    def of_category(total: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return total[..., :num_categories] / total[..., num_categories : 2 * num_categories]

    def each(names: Sequence[str], found: Intervals, counts: Floats) -> dict[str, Any]:
        return {
            name: {"n": int(n), "iou": as_entry(found, i, int(n))}
            for i, (name, n) in enumerate(zip(names, counts, strict=True))
        }

    total = np.asarray(scores.sums.sum(axis=0))
    shapes = total[num_categories : 2 * num_categories]
    labelled = total[2 * num_categories + len(predictions.parts) :][: len(predictions.parts)]
    of_parts = bootstrap(scores.sums, metric.part_iou, samples=samples, seed=seed)
    of_categories = bootstrap(scores.sums, of_category, samples=samples, seed=seed)
    return (
        each(predictions.parts, of_parts, labelled),
        each(predictions.category_names, of_categories, shapes),
    )


def _abstract(results: Mapping[str, Any]) -> str:
    """Say the result in words, against the baseline."""
    entry, accuracy = results["metrics"]["instance_miou"], results["metrics"]["point_accuracy"]
    text = (
        f"On the {split_name(results)} split the parts of {entry['n']:,} shapes are found with a mean IoU of "
        f"{entry['value']:.3f}; {100 * accuracy['value']:.1f} % of the points are labelled right"
    )
    for baseline in results["baselines"].values():
        share = 100 * baseline["point_accuracy"]["value"]
        text += f", against {share:.1f} % where every point gets the most frequent part"
    return f"{text}. The clouds are of {results['data']['source']}."


def _shapes(predictions: PartPredictions) -> list[dict[str, Any]]:
    """The shapes that evaluation chose to show, as the template takes them."""
    return [
        {
            "image": data_uri(picture),
            "key": predictions.keys[i],
            "category": predictions.category_names[int(predictions.categories[i])],
            "right": float((predictions.labels[i] == predictions.predicted[i]).mean()),
        }
        for i, picture in zip(predictions.shown.tolist(), predictions.pictures, strict=True)
    ]
