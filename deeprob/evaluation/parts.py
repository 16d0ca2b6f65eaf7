"""Evaluation of part segmentation: what a run says of every point of every shape, its metrics with intervals.

A shape's category is its class; the parts of a category are those that its shapes hold, in training and in
the split that is judged. A model may answer with any part; one of another category is wrong.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray

from deeprob.data.point_cuts import draw_clouds
from deeprob.data.point_views import PartSplit
from deeprob.errors import InputError
from deeprob.evaluation.entries import as_differences, as_metrics, interval_method
from deeprob.evaluation.metrics.classification import Floats, Integers
from deeprob.evaluation.metrics.points import METRICS, PartSegmentation
from deeprob.evaluation.statistics import Intervals, bootstrap, paired_difference, sums_by_unit
from deeprob.runs import Run, atomic_file

if TYPE_CHECKING:
    from deeprob.evaluation.opened import Opened

TASK = "part_segmentation"
NUM_SHOWN = 24
COLOURS = np.array(  # of parts in pictures, told apart by the colour-blind too (Okabe and Ito, 2008)
    [
        [0, 114, 178],
        [230, 159, 0],
        [0, 158, 115],
        [213, 94, 0],
        [204, 121, 167],
        [86, 180, 233],
        [240, 228, 66],
        [90, 90, 90],
    ],
    np.uint8,
)


@dataclass(frozen=True)
class PartPredictions:
    """What a model said of every shape of a split, in the run's predictions_<split>.npz.

    labels, predicted: int64 (N, P), parts of the points. categories: int64 (N,), index into category_names.
    units: int64 (N,). keys: (N,). parts: C names. shown: int64 (T,), the worst shapes; pictures: uint8
    (T, h, 2 h, 3), each as labelled beside as predicted.
    """

    labels: Integers
    predicted: Integers
    categories: Integers
    units: Integers
    keys: Sequence[str]
    category_names: Sequence[str]
    parts: Sequence[str]
    shown: Integers
    pictures: NDArray[np.uint8]

    def save(self, run: Run, split: str) -> None:
        """Write the file, whole or not at all."""
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(self).items()}
        with atomic_file(run.predictions(split), "wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, run: Run, split: str) -> PartPredictions:
        """Read what `save` wrote. Raises InputError where the file is missing, broken or incomplete."""
        path = run.predictions(split)
        fix = f"run: deeprob evaluate {run.argument} split={split}"
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in cls.__dataclass_fields__}
        except FileNotFoundError:
            raise InputError("no predictions of this split", where=path, fix=fix) from None
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"broken predictions ({error})", where=path, fix=fix) from None
        for name in ("keys", "category_names", "parts"):
            found[name] = found[name].tolist()
        return cls(**found)


def evaluate_parts(opened: Opened, progress: bool) -> tuple[dict[str, Any], PartPredictions]:
    """Judge a run by the parts it gives every point: what results.json says, and the predictions."""
    judged_by = opened.judged_by
    predictions, metric, of_model, of_majority = predict_parts(opened, progress)
    baselines = {"majority": of_majority} if "majority" in judged_by.baselines else {}
    measured = measure_parts(
        *(predictions, metric, of_model, baselines), samples=judged_by.bootstrap_samples, seed=judged_by.seed
    )
    return measured, predictions


def predict_parts(opened: Opened, progress: bool) -> tuple[PartPredictions, PartSegmentation, Floats, Floats]:
    """Let a run label every shape's points.

    Returns the predictions, the metric, and what each shape adds to its sums, float64 (N, S): of the model,
    and of the baseline that says the most frequent training part of every point.
    """
    data, here = opened.experiment.data, opened.samples
    categories = list(data.source.classes)
    train = data.split("train")
    metric = PartSegmentation(_parts_of(categories, train, here), len(data.classes))
    frequent = np.bincount(train.parts.values.numpy(), minlength=len(data.classes)).argmax()
    of_shape = here.labels.tolist()
    labels, predicted = [], []
    sums: list[Floats] = []
    of_baseline: list[Floats] = []
    loader = data.loader_of(here)
    for batch, logits in opened.experiment.outputs(loader, f"evaluating {opened.name}", progress):
        truth, answer = batch.labels.cpu().numpy(), logits.argmax(1)  # type: ignore[union-attr]
        for category, a, b in zip(of_shape[len(sums) :], truth, answer, strict=False):
            sums.append(metric.shape_sums(categories[category], a, b))
            of_baseline.append(metric.shape_sums(categories[category], a, np.full_like(a, frequent)))
        labels.append(truth)
        predicted.append(answer)
    truth, answer, of_model = np.concatenate(labels), np.concatenate(predicted), np.stack(sums)
    worst = of_model[:, : len(categories)].sum(1).argsort(kind="stable")[:NUM_SHOWN]
    cut = data.view.cut(data.mean, data.std)
    points = cut(here, torch.from_numpy(worst), torch.Generator())[0].numpy()
    drawn = [draw_clouds(list(points), list(COLOURS[of[worst] % len(COLOURS)])) for of in (truth, answer)]
    predictions = PartPredictions(
        truth,
        answer,
        here.labels.cpu().numpy(),
        here.units.cpu().numpy(),
        list(here.keys),
        categories,
        list(data.classes),
        worst,
        np.concatenate(drawn, axis=2),
    )
    return predictions, metric, of_model, np.stack(of_baseline)


def measure_parts(
    predictions: PartPredictions,
    metric: PartSegmentation,
    of_model: Floats,
    of_baselines: dict[str, Floats],
    *,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """Compute metrics, baselines and the IoU of each part and category, with intervals over the units."""
    count = len(predictions.labels)
    statistic, num_categories = metric.metrics_of_sums, len(predictions.category_names)
    sums = _of_units(of_model, predictions.units)
    differences, baselines = {}, {}
    for name, rows in of_baselines.items():
        theirs = _of_units(rows, predictions.units)
        baselines[name] = as_metrics(METRICS, bootstrap(theirs, statistic, samples=samples, seed=seed), count)
        differences[name] = paired_difference(sums, theirs, statistic, samples=samples, seed=seed)

    def of_category(total: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return total[..., :num_categories] / total[..., num_categories : 2 * num_categories]

    def each(names: Sequence[str], found: Intervals, counts: Floats) -> dict[str, Any]:
        entries = as_metrics(tuple(names), found, 0).items()
        return {
            name: {"n": int(n), "iou": {**entry, "n": int(n)}}
            for (name, entry), n in zip(entries, counts, strict=True)
        }

    total = of_model.sum(0)
    of_parts = bootstrap(sums, metric.part_iou, samples=samples, seed=seed)
    of_categories = bootstrap(sums, of_category, samples=samples, seed=seed)
    num_parts = len(predictions.parts)
    labelled = total[2 * num_categories + num_parts : 2 * num_categories + 2 * num_parts]
    return {
        "metrics": as_metrics(METRICS, bootstrap(sums, statistic, samples=samples, seed=seed), count),
        "baselines": baselines,
        "differences": as_differences(METRICS, differences),
        "per_class": each(predictions.parts, of_parts, labelled),
        "per_category": each(
            predictions.category_names, of_categories, total[num_categories : 2 * num_categories]
        ),
        "interval": interval_method(samples, int(sums.shape[0])),
    }


def _of_units(rows: Floats, units: Integers) -> scipy.sparse.csr_array:
    return sums_by_unit(scipy.sparse.csr_array(rows), units)


def _parts_of(categories: Sequence[str], *splits: PartSplit) -> dict[str, list[int]]:
    """The parts that the shapes of each category hold, over the splits."""
    found: dict[str, set[int]] = {name: set() for name in categories}
    for split in splits:
        category = split.labels.repeat_interleave(split.parts.counts).numpy()
        for number, part in np.unique(np.stack([category, split.parts.values.numpy()], 1), axis=0).tolist():
            found[categories[number]].add(part)
    return {name: sorted(parts) for name, parts in found.items()}
