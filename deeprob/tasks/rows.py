"""Tasks that predict one row of numbers for each sample and are scored by sums over the samples.

Such a task writes its loss, its prediction, the ground truth of some samples, and what each sample adds to
the sums. The meter, the file of predictions, the evaluation and the page follow from those.
"""

from __future__ import annotations

import hashlib
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.errors import InputError
from deeprob.metrics.scores import Evaluation, Scores, SummedScores
from deeprob.metrics.statistics import Floats, sums_by_unit
from deeprob.page import pages
from deeprob.page.definitions import title
from deeprob.page.run_facts import split_name
from deeprob.tasks.base import EvaluationOptions, Page, Predict, Task
from deeprob.writing import atomic_file

Array = NDArray[Any]
Baseline = Callable[[Any, Any], Array]
"""(training samples, samples) -> predictions for the latter, one row each."""


class Truth(NamedTuple):
    """The ground truth of N samples, (N, ...), and int64 (N,), the independent unit of each."""

    values: Array
    units: NDArray[np.int64]


class RowTask(Task):
    """A task whose predictions are one row of numbers a sample.

    metrics: their names. bounded: which of them lie between 0 and 1, all of them or one bool each.
    baselines: by name, what a model must beat; evaluation.baselines chooses among them, takes all where it
    names none of them, and none where it is empty. counted: what the numbers count.
    """

    metrics: ClassVar[tuple[str, ...]]
    bounded: ClassVar[bool | tuple[bool, ...]] = True
    baselines: ClassVar[Mapping[str, Baseline]] = {}
    counted: ClassVar[str] = "samples"

    @classmethod
    @abstractmethod
    def ground_truth(cls, samples: Any) -> Array:
        """What is right about each of N samples, (N, ...)."""

    @classmethod
    @abstractmethod
    def sample_sums(cls, predictions: Array, truths: Array) -> Floats:
        """What each of N samples adds to the sums, float64 (N, S); by default its metrics, (N, M)."""

    @classmethod
    def metrics_of_sums(cls, sums: Floats, count: Floats) -> Floats:
        """The metrics (..., M) of sums (..., S) over `count` (..., 1) samples; by default their means."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums / count

    def truths(self, samples: Any, batch: Any) -> Truth:
        chosen = samples.take(batch.indices)
        return Truth(self.ground_truth(chosen), chosen.units.cpu().numpy())

    def adopted(self, samples: Any, there: PerceptionData) -> Any:
        return samples if there.classes == self.data.classes else None

    def meter(self, samples: Any) -> RowMeter:
        return RowMeter(type(self))

    def evaluate(
        self, predict: Predict, samples: Any, options: EvaluationOptions, file: Path, split: str
    ) -> Evaluation:
        found = np.concatenate([rows for _, rows in predict(samples, f"evaluating {split}")])
        truth = Truth(self.ground_truth(samples), samples.units.cpu().numpy())
        wanted = [name for name in options.baselines if name in self.baselines]
        beside = {}
        if options.baselines and not wanted:
            wanted = list(self.baselines)
        known = self.data.labelled_samples if "train" in self.data.splits else None  # they learn from it
        for name in wanted if known is not None else ():
            with predict.status(f"baseline {name}"):
                rows = self.baselines[name](known, samples)
                beside[name] = self.scores_of(rows, truth)
        arrays = {"predictions": found, "truths": truth.values, "units": truth.units}
        with atomic_file(file, "wb") as opened:
            np.savez_compressed(opened, **arrays, keys=np.asarray(samples.keys, np.str_))
        return Evaluation(self.scores_of(found, truth), baselines=beside)

    @classmethod
    def scores_of(cls, predictions: Array, truth: Truth) -> SummedScores:
        """Score predictions (N, ...) for N samples."""
        rows = np.asarray(cls.sample_sums(predictions, truth.values), np.float64)
        counted = np.column_stack([rows, np.ones(len(truth.units))])
        return SummedScores(
            cls.metrics,
            sums_by_unit(scipy.sparse.csr_array(counted), truth.units),
            lambda total: cls.metrics_of_sums(total[..., :-1], total[..., -1:]),
            (len(truth.units),) * len(cls.metrics),
            np.broadcast_to(np.array(cls.bounded), len(cls.metrics)),
        )

    @classmethod
    def predictions_file(cls, split: str) -> str:
        return f"predictions_{split}.npz"

    @classmethod
    def read_scores(cls, file: Path) -> tuple[Scores, str]:
        found = read_rows(file)
        truth = Truth(found["truths"], found["units"])
        digest = hashlib.sha256(truth.values.tobytes() + truth.units.tobytes())
        digest.update("\0".join(found["keys"].tolist()).encode())
        return cls.scores_of(found["predictions"], truth), digest.hexdigest()

    @classmethod
    def page(cls, results: Mapping[str, Any], file: Path, folder: Path) -> Page:
        read_rows(file)
        entry = results["metrics"][cls.headline]
        text = f"On the {split_name(results)} split, over {entry['n']:,} {cls.counted}, "
        text += f"{title(cls.headline)} is {pages.fixed(entry['value'])}"
        if entry["ci95"]:
            text += f" (95 % interval {pages.fixed(entry['ci95'][0])} to {pages.fixed(entry['ci95'][1])})"
        for name, baseline in results["baselines"].items():
            text += f"; {pages.fixed(baseline[cls.headline]['value'])} for {title(name)}"
        first = (cls.headline, *(name for name in cls.metrics if name != cls.headline))
        return Page(f"{text}. The data are {results['data']['source']}.", first, cls.counted)


class RowMeter:
    """Collects predictions and ground truth as they are; scores them as `kind` does."""

    def __init__(self, kind: type[RowTask]) -> None:
        self.kind = kind
        self._found: list[tuple[Array, Truth]] = []

    def update(self, predictions: Array, truths: Truth) -> None:
        """Add predictions (B, ...) and the ground truth of the same samples."""
        self._found.append((predictions, truths))

    def merge(self, other: RowMeter) -> None:
        """Add the samples of another process."""
        self._found += other._found

    def scores(self) -> SummedScores:
        """Every metric of the task."""
        predictions = np.concatenate([rows for rows, _ in self._found])
        values, units = (np.concatenate(of) for of in zip(*(t for _, t in self._found), strict=True))
        return self.kind.scores_of(predictions, Truth(values, units))


def read_rows(file: Path) -> dict[str, Array]:
    """The arrays predictions, truths, units and keys of a run's predictions. Raises InputError."""
    fix = f"run: deeprob evaluate run={file.parent}"
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ("predictions", "truths", "units", "keys")}
    except FileNotFoundError:
        raise InputError("no predictions of this split", where=file, fix=fix) from None
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"broken predictions ({error})", where=file, fix=fix) from None
