"""The root config of every verb."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from deeprob.schema.card import CardSettings
from deeprob.schema.studies import AblationSettings, SweepSettings
from deeprob.schema.training import OptimSettings, TrainerSettings


@dataclass
class PathSettings:
    """Folders. data_dir: real data sets; runs_dir: run folders; cache_dir: renders and decoded images."""

    data_dir: str = "${oc.env:DEEPROB_DATA,data}"
    runs_dir: str = "runs"
    cache_dir: str = "${oc.env:DEEPROB_CACHE,'~/.cache/deeprob'}"


@dataclass
class EvaluationSettings:
    """What a run is judged by.

    split: data set split. checkpoint: `best` (chosen on val) or `last`. baselines: measured beside the model.
    bootstrap_samples: resamplings behind each 95 % interval. neighbours: k of the k-NN baseline.
    boxes: that objects are cut out by: `gt`, the true ones; a file of detections; or a detector's run folder.
    """

    split: str = "test"
    checkpoint: str = "best"
    baselines: list[str] = field(default_factory=lambda: ["majority", "knn"])
    boxes: str = "gt"
    neighbours: int = 5
    bootstrap_samples: int = 2000
    seed: int = 0


@dataclass
class TrainConfig:
    """Root of `deeprob train`.

    name: of the experiment, and so of the folder its runs lie in. run: a run folder to go on with.
    callbacks: Lightning callbacks by any name, such as gradient_flow. card: words for `deeprob card`.
    allowed_targets: further packages that a leaf may name; only from the command line.
    """

    name: str = MISSING
    seed: int = 0
    run: str | None = None
    allowed_targets: list[str] = field(default_factory=list)
    paths: PathSettings = field(default_factory=PathSettings)
    data: Any = MISSING
    model: Any = MISSING
    objective: Any = MISSING
    optim: OptimSettings = field(default_factory=OptimSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    logger: Any = None
    callbacks: dict[str, Any] = field(default_factory=dict)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    card: CardSettings = field(default_factory=CardSettings)


@dataclass
class CardConfig(TrainConfig):
    """Root of `deeprob card`: an experiment. out: folder of the card; seconds: of training timed for it."""

    out: str = "${paths.runs_dir}/cards/${name}"
    seconds: float = 3.0


@dataclass
class EvaluateConfig:
    """Root of `deeprob evaluate`: of a run, or of predictions in a file.

    split and checkpoint: null takes what the run's own config says; of predictions, the split `test`.
    boxes: null takes what the run's own config says; see EvaluationSettings.
    robustness: evaluate under graded corruptions of the images too. data: another data set of the same
    classes to evaluate on, such as real images for a model trained on simulated ones; for predictions, the
    data set that they are about.
    predictions: poses.csv, boxes.json or a folder of label images. against: what these are compared with, a
    second file, or `random`, or null. unit: what is independent, `frame` or `group`; null: as the data set
    says. out: folder of the report; null: predictions/<file> below paths.runs_dir. bootstrap_samples: behind
    each interval.
    """

    run: str | None = None
    predictions: str | None = None
    against: str | None = "random"
    unit: str | None = None
    out: str | None = None
    bootstrap_samples: int = 2000
    split: str | None = None
    checkpoint: str | None = None
    boxes: str | None = None
    robustness: bool = False
    data: Any = None
    paths: PathSettings = field(default_factory=PathSettings)
    allowed_targets: list[str] = field(default_factory=list)


@dataclass
class PredictConfig:
    """Root of `deeprob predict`: what a trained run says of an input.

    input: an image, a folder, a pattern with *, a video, a bag, or the number of a camera; clouds of points
    for a run on those. data, split: in its place a data set's split. every: take each so many-th frame.
    topic: of a bag. intrinsics: fx, fy, cx, cy in pixels, where the input does not say. boxes: COCO JSON with
    the objects to look at; detector: a run folder whose model finds them, with at least detector_score.
    min_score, classes: leave out predictions below, and of others; empty: keep all. draw: pictures or a video
    with what is predicted drawn in, from the score draw_score on; null: a detector's from 0.3, others all.
    refine: draw each object, and move its pose until the picture fits.
    on_bad_sample: `skip` and count what cannot be read, or `error`.
    batch_size, checkpoint: null takes those of the run's evaluation. device: `cpu`, `cuda`; null: as the run.
    engine: `torch`, or `onnxruntime`, faster on a CPU; what it runs is kept in the run folder's export.
    out: the folder to write; null: predictions/<input> in the run folder.
    """

    run: str | None = None
    input: str | None = None
    data: Any = None
    split: str = "test"
    every: int = 1
    topic: str | None = None
    intrinsics: list[float] = field(default_factory=list)
    boxes: str | None = None
    detector: str | None = None
    detector_score: float = 0.3
    min_score: float = 0.0
    classes: list[str] = field(default_factory=list)
    draw: bool = False
    draw_score: float | None = None
    refine: bool = False
    on_bad_sample: str = "skip"
    batch_size: int | None = None
    checkpoint: str | None = None
    device: str | None = None
    engine: str = "torch"
    out: str | None = None
    paths: PathSettings = field(default_factory=PathSettings)
    allowed_targets: list[str] = field(default_factory=list)


@dataclass
class RefineConfig:
    """Root of `deeprob refine`: poses of a BOP CSV refined on the frames of a data set's split.

    terms: what is compared, of `mask`, `depth` and `rgb`; empty takes all that a frame has. starts: of each
    pose; sides, steps: pixels of the squares around an object from coarse to fine, and most steps on each, of
    Levenberg and Marquardt; a mask made of colours alone takes one start and Adam's own number of steps.
    out: the CSV to write. report: folder of the page; null: predictions/<name of out> below paths.runs_dir.
    unit: what is independent, `frame` or `group`; null: as the data set says. bootstrap_samples: behind each
    interval.
    """

    poses: str = MISSING
    data: Any = None
    split: str = "test"
    terms: list[str] = field(default_factory=list)
    starts: int = 6
    sides: list[int] = field(default_factory=lambda: [48, 96])
    steps: list[int] = field(default_factory=lambda: [12, 12])
    out: str = "refined.csv"
    report: str | None = None
    unit: str | None = None
    bootstrap_samples: int = 2000
    seed: int = 0
    paths: PathSettings = field(default_factory=PathSettings)
    allowed_targets: list[str] = field(default_factory=list)


@dataclass
class ExportConfig:
    """Root of `deeprob export`.

    format: `onnx`, `pt2` (torch.export) or `safetensors` (weights alone). out: folder; null: export in the
    run's. opset: of ONNX; null: the exporter's. dynamic: batches of any size. precision: `fp32` or `fp16`.
    """

    run: str | None = None
    format: str = "onnx"
    out: str | None = None
    opset: int | None = None
    dynamic: bool = True
    precision: str = "fp32"
    checkpoint: str | None = None
    paths: PathSettings = field(default_factory=PathSettings)
    allowed_targets: list[str] = field(default_factory=list)


@dataclass
class ReportConfig:
    """Root of `deeprob report`: one run, or a table of all evaluated runs that a pattern matches.

    metric, base, output: of the table. metric: null takes the task's headline; base: the group the others are
    compared with, null for the first. allowed_targets: further packages that a task may come from.
    """

    run: str | None = None
    runs: str | None = None
    metric: str | None = None
    base: str | None = None
    output: str = "comparison"
    allowed_targets: list[str] = field(default_factory=list)


@dataclass
class AblateConfig:
    """Root of `deeprob ablate`. jobs: runs at a time; dry_run: print the plan only."""

    ablation: AblationSettings = field(default_factory=AblationSettings)
    paths: PathSettings = field(default_factory=PathSettings)
    jobs: int = 1
    dry_run: bool = False


@dataclass
class SweepConfig:
    """Root of `deeprob sweep`. jobs: trials at a time; dry_run: print the plan only.

    worker: run trials while there are some to start, and leave the report to others.
    """

    sweep: SweepSettings = field(default_factory=SweepSettings)
    paths: PathSettings = field(default_factory=PathSettings)
    jobs: int = 1
    worker: bool = False
    dry_run: bool = False


@dataclass
class InfoConfig:
    """Root of `deeprob info`. data: a data set to look into; sheet: where its contact sheet is written.

    objects: a folder of meshes, whose sizes, each times scale, and symmetries are told.

    model: a network to state the cost of, before it is trained: for num_classes, images of shape input
    (channels, height, width), batch_size, and the optimiser and precision of the training. depth: levels of
    blocks that its table opens.
    """

    paths: PathSettings = field(default_factory=PathSettings)
    data: Any = None
    sheet: str | None = None
    objects: str | None = None
    scale: float = 1.0
    model: Any = None
    num_classes: int = 10
    input: list[int] = field(default_factory=lambda: [3, 32, 32])
    batch_size: int = 64
    depth: int = 2
    optim: OptimSettings = field(default_factory=OptimSettings)
    precision: str = "32-true"
    allowed_targets: list[str] = field(default_factory=list)


@dataclass
class GraphConfig:
    """Root of `deeprob graph`: one of expression, model, run, jacobian, chain, render says what to show.

    expression, at, upstream: a formula, its values, and the gradient of a loss by an output that is an array.
    sigmoid: `gate` or its four `primitives`. show: table flat picture page; null takes what fits.
    model, num_classes, input, batch: a network, and the shape (without the batch) of what it is shown;
    a run is shown as many samples of its own.
    depth: levels of blocks that a network's picture opens. checkpoint: of the run, `best` or `last`;
    data.root: where its data lie now.
    jacobian, N, D, M: a layer, its samples, inputs and outputs. chain: sizes, as 4096,512,512,1.
    render: an object, by a mesh's file or one of the everyday objects' names; pixel: [u, v] of its picture
    to read back, empty for one on its outline.
    out: the file to write a picture or page to; null writes under paths.runs_dir.
    """

    expression: str | None = None
    at: str = ""
    upstream: str | None = None
    sigmoid: str = "gate"
    model: Any = None
    num_classes: int = 10
    input: list[int] = field(default_factory=lambda: [3, 32, 32])
    batch: int = 32
    depth: int = 1
    run: str | None = None
    data: Any = None
    checkpoint: str = "best"
    jacobian: str | None = None
    N: int = 2
    D: int = 5
    M: int = 4
    chain: str | None = None
    render: str | None = None
    pixel: list[int] = field(default_factory=list)
    show: str | None = None
    out: str | None = None
    seed: int = 0
    allowed_targets: list[str] = field(default_factory=list)
    paths: PathSettings = field(default_factory=PathSettings)
