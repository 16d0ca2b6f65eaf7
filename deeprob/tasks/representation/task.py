"""Representation: the task of a network that learns without labels. Its features are judged, frozen.

While it trains: whether the nearest sample of another recording has the same class (`neighbour_agreement`, of
a split alone). When it is evaluated: a linear probe and k nearest neighbours fitted on the labelled training
samples, beside the same on the pixels, and on the features of the network with random weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deeprob.errors import InputError
from deeprob.metrics.representation import METRICS, nearest_elsewhere
from deeprob.metrics.scores import Evaluation, SummedScores
from deeprob.models.features import features_of
from deeprob.models.knn import KNearestNeighbours
from deeprob.page import pages
from deeprob.page.definitions import title
from deeprob.page.run_facts import split_name
from deeprob.tasks.base import EvaluationOptions, Loss, Page, Predict
from deeprob.tasks.classification.baselines import linear
from deeprob.tasks.rows import RowTask, Truth
from deeprob.writing import atomic_file

NEIGHBOURS = 20
PIXELS, RANDOM = "pixels", "random_init"


class Judged(NamedTuple):
    """Features float32 (N, D) of samples, with their labels, groups and independent units int64 (N,)."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    units: NDArray[np.int64]


class Representation(RowTask):
    """Features of a network, (B, D): what its last linear layer takes."""

    name = "representation"
    title = "Representation"
    headline = "neighbour_agreement"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    labels_have_places = False

    def loss(self, model: nn.Module, batch: Any) -> Loss:
        raise InputError(
            "a representation is learned without labels",
            expected="objective=simclr, vicreg, rotation or mae",
            fix="with labels: data/view=classification",
        )

    def predict(self, model: nn.Module, batch: Any) -> NDArray[np.float32]:
        """Features float32 (B, D)."""
        return features_of(model, batch[0]).float().cpu().numpy()

    def truths(self, samples: Any, batch: Any) -> Any:
        return samples.take(batch.indices)

    def meter(self, samples: Any) -> FeatureMeter:  # type: ignore[override]
        return FeatureMeter()

    @classmethod
    def ground_truth(cls, samples: Any) -> NDArray[np.int64]:
        return np.asarray(samples.labels.cpu().numpy())

    @classmethod
    def sample_sums(cls, predictions: Any, truths: Any) -> Any:
        """Whether each of the three says the right class. predictions: classes int64 (N, 3)."""
        return (predictions == truths[:, None]).astype(np.float64)

    def evaluate(
        self, predict: Predict, samples: Any, options: EvaluationOptions, file: Any, split: str
    ) -> Evaluation:
        train = self.data.labelled_samples

        def seen(of: Any, heading: str) -> Judged:
            return judged(np.concatenate([rows for _, rows in predict(of, heading)]), of)

        here, there = seen(samples, f"evaluating {split}"), seen(train, "features of the training split")
        with predict.status("linear probe"):
            found = self.classes_by(there, here)
        beside: dict[str, SummedScores] = {}
        if options.baselines:
            for name, given in self._others(predict.model, train, samples).items():
                with predict.status(f"baseline {name}"):
                    beside[name] = self.scores_of(self.classes_by(*given), Truth(here.labels, here.units))
        arrays: dict[str, Any] = {"predictions": found, "truths": here.labels, "units": here.units}
        with atomic_file(file, "wb") as opened:
            np.savez_compressed(opened, **arrays, keys=np.asarray(samples.keys, np.str_))
        return Evaluation(self.scores_of(found, Truth(here.labels, here.units)), baselines=beside)

    def _others(self, model: nn.Module, train: Any, samples: Any) -> dict[str, tuple[Judged, Judged]]:
        """The same samples as other features: what a representation must beat."""
        network = random_weights(model)

        def random_features(of: Any) -> Judged:
            with torch.inference_mode():
                device = next(network.parameters()).device
                rows = [features_of(network, b[0].to(device)).cpu() for b in self.data.loader_of(of)]
            return judged(torch.cat(rows).float().numpy(), of)

        def pixels(of: Any) -> Judged:
            return judged(of.images.flatten(1).numpy().astype(np.float32), of)

        return {
            PIXELS: (pixels(train), pixels(samples)),
            RANDOM: (random_features(train), random_features(samples)),
        }

    def classes_by(self, train: Judged, samples: Judged) -> NDArray[np.int64]:
        """The classes int64 (N, 3) that each way says: see METRICS."""
        known, labels = torch.from_numpy(train.features), torch.from_numpy(train.labels)
        asked, count = torch.from_numpy(samples.features), len(self.data.classes)
        k = min(NEIGHBOURS, len(known))
        index = KNearestNeighbours(known, labels, num_classes=count, k=k, metric="cosine")
        probe = linear(known, labels, asked, count, k)
        near = samples.labels[nearest_elsewhere(samples.features, samples.groups)]
        return np.stack([near, probe.argmax(1), index.predict(asked).cpu().numpy()], 1)

    @classmethod
    def page(cls, results: Mapping[str, Any], file: Any, folder: Any) -> Page:
        page = super().page(results, file, folder)
        first = ("probe_accuracy", "knn_accuracy", "neighbour_agreement")
        entry = results["metrics"][first[0]]
        text = f"On the {split_name(results)} split, a linear probe on the frozen features is right on "
        text += f"{pages.fixed(entry['value'])} of {entry['n']:,} samples"
        if entry["ci95"]:
            text += f" (95 % interval {pages.fixed(entry['ci95'][0])} to {pages.fixed(entry['ci95'][1])})"
        for name, baseline in results["baselines"].items():
            text += f"; {pages.fixed(baseline[first[0]]['value'])} on {title(name).lower()}"
        return Page(f"{text}. The data are {results['data']['source']}.", first, page.counted)


class FeatureMeter:
    """Collects features while a network trains; scores a split by itself."""

    def __init__(self) -> None:
        self._found: list[Judged] = []

    def update(self, predictions: NDArray[np.float32], truths: Any) -> None:
        """Add features (B, D) and the samples that they are of."""
        self._found.append(judged(predictions, truths))

    def merge(self, other: FeatureMeter) -> None:
        """Add the samples of another process."""
        self._found += other._found

    def scores(self) -> SummedScores:
        """How often the nearest sample of another group has the same class."""
        features, labels, groups, units = (np.concatenate(of) for of in zip(*self._found, strict=True))
        near = labels[nearest_elsewhere(features, groups)]
        return OfSplit.scores_of(near[:, None], Truth(labels, units))


class OfSplit(Representation):
    """What can be said of a split without another."""

    metrics = METRICS[:1]


def judged(features: NDArray[np.float32], samples: Any) -> Judged:
    """Features beside what is known of the samples."""
    columns = (samples.labels, samples.groups, samples.units)
    return Judged(features, *(column.cpu().numpy() for column in columns))


def random_weights(model: nn.Module) -> nn.Module:
    """The same network as before a training: layers as torch starts them, other parameters near zero."""
    network = copy.deepcopy(model)
    started: set[int] = set()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for module in network.modules():
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()
                started |= {id(p) for p in module.parameters(recurse=False)}
        for parameter in network.parameters():
            if id(parameter) not in started:
                parameter.copy_(0.02 * torch.randn(parameter.shape, dtype=torch.float32))
    return network.eval()
