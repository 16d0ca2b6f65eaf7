"""What training, evaluation and studies know of a task; a task is one folder beside this file.

    loss     (model, batch) -> what training descends on, with its named parts
    predict  (model, batch) -> what the model says of each sample of the batch, decoded
    meter    collects predictions beside the ground truth, merges exactly over processes, and gives the scores

A view names its task (`View.task`), so that a config which chooses a view has chosen the task. Whoever adds a
task writes a view, a loss, predictions and a meter: docs/extending.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from deeprob.data.batches.samples import Samples
from deeprob.data.frame import Frame
from deeprob.data.predictions.names import Naming
from deeprob.data.predictions.outputs import Output, RowOutput
from deeprob.errors import InputError
from deeprob.metrics.scores import Evaluation, Scores
from deeprob.progress import Advance
from deeprob.tasks.deployed import Deployed

if TYPE_CHECKING:
    from typing_extensions import Self

    from deeprob.data.batches.datamodule import PerceptionData


class Loss(NamedTuple):
    """total: scalar to descend on. terms: what is logged as train/<name>, detached means over the batch."""

    total: Tensor
    terms: Mapping[str, Tensor] = {}


class PseudoLabelled(NamedTuple):
    """A batch whose labels are confident predictions.

    share: the part of what a label could stand for (a sample, a pixel, an object) that has one, ().
    right: the part whose label is also the ground truth's, (), NaN where that is not known.
    """

    batch: Any
    share: Tensor
    right: Tensor


class Meter(Protocol):
    """Predictions beside the ground truth of a split."""

    def update(self, predictions: Any, truths: Any) -> None:
        """Add the predictions for some samples, and what `Task.truths` says of the same ones."""
        ...

    def merge(self, other: Self) -> None:
        """Add what another process has seen of the same split."""
        ...

    def scores(self) -> Scores:
        """Every metric, over independent units."""
        ...


class EvaluationOptions(Protocol):
    """The part of a config that an evaluation follows: deeprob.schema.roots.EvaluationSettings."""

    baselines: Sequence[str]
    boxes: str
    neighbours: int
    bootstrap_samples: int
    seed: int


@dataclass(frozen=True)
class Block:
    """A part of a report that one task has: templates/blocks/<template>.html.j2, filled from `context`.

    terms: names in it to define at the end of the page.
    """

    id: str
    title: str
    template: str
    context: Mapping[str, Any] = field(default_factory=dict)
    terms: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """What a task puts on a run's report.

    abstract: the result in a sentence or two. headline: the metrics to show first. counted: what n counts.
    blocks: in the order of the page. captions: of learning curves by name. drawings: name -> SVG, written
    beside the page too. failures: pictures of the worst, {image, said, of, key}. terms: names to define.
    pictures: name -> image uint8 (h, w, 3) to write beside it.
    """

    abstract: str
    headline: Sequence[str]
    counted: str = "samples"
    blocks: Sequence[Block] = ()
    captions: Mapping[str, str] = field(default_factory=dict)
    drawings: Mapping[str, str] = field(default_factory=dict)
    failures: Sequence[Mapping[str, Any]] = ()
    terms: Sequence[str] = ()
    pictures: Mapping[str, Any] = field(default_factory=dict)


class Predict(Protocol):
    """The model of a run that is evaluated."""

    @property
    def model(self) -> nn.Module: ...

    def __call__(self, samples: Samples, heading: str) -> Iterator[tuple[Any, Any]]:
        """Give each batch of the samples, in order, with `Task.predict` of it; heading: of the progress."""
        ...

    def status(self, heading: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Show what is done meanwhile; gives what counts its steps, of `total` where that is known."""
        ...


class Task(ABC):
    """A task on one data set.

    name: stands in results.json. title: heads its pages. headline: the metric that training monitors and
    studies compare by default, the larger the better. earlier_names: those by which earlier versions logged
    a score, and its name now; a run that has chosen its best epoch by one goes on doing so.
    overfit_at: a metric, and the value from which on a handful of samples counts as overfit; None: the
    headline, at 1.
    data: what the task is on. trained: what a model to evaluate was trained on, where that is other data.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    headline: ClassVar[str]
    earlier_names: ClassVar[Mapping[str, str]] = MappingProxyType({})
    overfit_at: ClassVar[tuple[str, float] | None] = None
    labels_have_places: ClassVar[bool] = True
    """Whether labels move with the image, as boxes do."""
    finds_boxes: ClassVar[bool] = False
    """Whether `frame_predictions` are boxes with scores, which a second stage can look at."""
    drawn_from: ClassVar[float] = 0.0
    """The score from which on predictions are drawn, where nobody says another."""

    def __init__(self, data: PerceptionData) -> None:
        self.data = self.trained = data

    def __deepcopy__(self, memo: Any) -> Self:
        return self  # an average of a network's weights needs no second copy of the data

    def model_arguments(self) -> dict[str, Any]:
        """What the model is told about the data beside its config."""
        return {"num_classes": len(self.data.classes)}

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any) -> Loss:
        """Compute the supervised loss of a batch."""

    @abstractmethod
    def predict(self, model: nn.Module, batch: Any) -> Any:
        """Predict for each sample of a batch, in its order."""

    def prior(self) -> Tensor | None:
        """The share of each class among the labels, float32 (C,); None where a sample has no one class."""
        return None

    def pseudo_labelled(
        self,
        model: nn.Module,
        weak: Any,
        strong: Any,
        threshold: float,
        soft: bool = False,
        aligned: Callable[[Tensor], Tensor] = lambda p: p,
    ) -> PseudoLabelled:
        """Label the batch `strong` by what the model says of `weak`, another view of the same samples.

        threshold: least confidence of a label. soft: labels are probabilities, where there are any.
        aligned: what is done to probabilities (N, C, ...) first. Raises InputError where the task has none.
        """
        raise InputError(
            f"predictions of {self.name} cannot be labels yet", fix="choose objective=supervised"
        )

    def truths(self, samples: Samples, batch: Any) -> Any:
        """What a meter compares the predictions for a batch with: the samples that the batch is of."""
        return samples.take(batch.indices)

    def adopted(self, samples: Any, there: PerceptionData) -> Any:
        """Samples of another data set as if they were of this one, their classes counted as here.

        Its classes are some of these. None where they cannot be: the classes must then be the same.
        """
        return None

    def frame_predictions(self, frame: Frame, keys: Sequence[str], predictions: Sequence[Any]) -> list[Any]:
        """What is predicted of a frame, as a user of the model takes it.

        keys, predictions: of the samples that the view sees in it, one at least.
        """
        return list(predictions)

    def output(self, names: Naming) -> Output:
        """The file that holds the `frame_predictions` of any number of frames."""
        return RowOutput()

    def draw(self, frame: Frame, predicted: Sequence[Any]) -> NDArray[np.uint8]:
        """Draw the `frame_predictions` of a frame: uint8 (h, w, 3). Raises InputError where it cannot."""
        raise InputError(f"{self.title.lower()} has no drawing", fix="leave out draw=true")

    def refine(self, model: nn.Module) -> None:
        """Have what the model predicts refined from now on. Raises InputError where that cannot be."""
        raise InputError(f"predictions of {self.title.lower()} are not refined", fix="leave out refine=true")

    def remarks(self, model: nn.Module) -> list[str]:
        """What became of the model's predictions, in sentences, where there is something to say."""
        return []

    def deployed(self, model: nn.Module) -> Deployed:
        """The model as one graph with decoded outputs. Raises InputError where it cannot be one."""
        raise InputError(
            f"{self.title.lower()} cannot be exported", fix="format=safetensors keeps the weights"
        )

    @abstractmethod
    def meter(self, samples: Samples) -> Meter:
        """An empty meter for the samples of a split."""

    @abstractmethod
    def evaluate(
        self, predict: Predict, samples: Samples, options: EvaluationOptions, file: Path, split: str
    ) -> Evaluation:
        """Evaluate a model: write its predictions to `file` (`predictions_file`) and measure them.

        predict: runs the model. split: the split's name. Raises InputError where the options do not fit.
        """

    @classmethod
    @abstractmethod
    def predictions_file(cls, split: str) -> str:
        """The name of a split's predictions inside a run folder."""

    @classmethod
    @abstractmethod
    def read_scores(cls, file: Path) -> tuple[Scores, str]:
        """Read the scores of written predictions, and a digest of the samples that they are of.

        Raises InputError where the file is missing or broken.
        """

    @classmethod
    @abstractmethod
    def page(cls, results: Mapping[str, Any], file: Path, folder: Path) -> Page:
        """What the report of a run shows. results: as written; file: its predictions; folder: of the run.

        Raises InputError where the file is missing or broken.
        """


def method_of(model: Any, name: str, expected: str) -> Any:
    """A method that a task needs of its model. Raises InputError for a model of another task."""
    found = getattr(model, name, None)
    if found is None:
        raise InputError(f"{type(model).__name__} has no method `{name}`", expected=expected)
    return found


class OncePerInput:
    """A model that runs once for the same input: a loss and a prediction of one batch share the forward pass.

    Everything else of the model is reached through it.
    """

    def __init__(self, model: nn.Module, inputs: Any = None, output: Any = None) -> None:
        self.model = model
        self._input, self._output = inputs, output  # of a run before, where there was one

    def __call__(self, inputs: Any) -> Any:
        """Run the model, or give again what it said of this very object last."""
        if inputs is not self._input:
            self._input, self._output = inputs, self.model(inputs)
        return self._output

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)
