"""What a config may hold: a dataclass for every group and for every leaf.

Hydra fills these dataclasses from the YAML files under configs/, so that a misspelt key or a wrong type is
refused before anything runs. A leaf (`_target_` and its arguments) has the parameters of the class that it
configures; a test holds the two together. Nothing heavy is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from deeprob.data.settings import Augmentation
from deeprob.sim.settings import SimSettings


@dataclass
class PathSettings:
    """Folders. data_dir: real data sets; runs_dir: run folders; cache_dir: renders and decoded images."""

    data_dir: str = "${oc.env:DEEPROB_DATA,data}"
    runs_dir: str = "runs"
    cache_dir: str = "${oc.env:DEEPROB_CACHE,${oc.env:HOME}/.cache/deeprob}"


@dataclass
class ViewSettings:
    """Classification crops: see deeprob.data.views.ClassificationView."""

    _target_: str = "deeprob.data.views.ClassificationView"
    size: int = 32
    margin: float = 0.0
    min_pixels: int = 6
    min_visible_fraction: float = 0.0
    square: bool = False


@dataclass
class DataSettings:
    """A data set, its view, and how batches are cut from it.

    root: where the files lie.
    on_bad_sample: `error` stops at a bad sample, `skip` leaves it out and counts it.
    label_map: class -> its new name, or null to leave its objects out; classes of one new name are merged.
    val_fraction: share of the training groups held out as `val` where the source has none.
    num_folds, fold: cross-validation by whole groups, which of how many parts of `train` is `val`; 0: none.
    balanced: training batches hold every class equally often.
    workers: threads that prepare batches ahead; 0 prepares each when it is asked for.
    """

    root: str = MISSING
    source: Any = MISSING
    on_bad_sample: str = "error"
    label_map: dict[str, str | None] = field(default_factory=dict)
    view: ViewSettings = field(default_factory=ViewSettings)
    augmentation: Augmentation = field(default_factory=Augmentation)
    batch_size: int = 128
    eval_batch_size: int = 512
    val_fraction: float = 0.0
    num_folds: int = 0
    fold: int = 0
    balanced: bool = False
    workers: int = 0


@dataclass
class FileSourceSettings:
    """What every reader of files takes."""

    root: str = "${data.root}"
    on_bad_sample: str = "${data.on_bad_sample}"
    name: str | None = None


@dataclass
class DarknetSettings(FileSourceSettings):
    """See deeprob.data.darknet.DarknetSource."""

    _target_: str = "deeprob.data.darknet.DarknetSource"
    splits: dict[str, list[str]] = MISSING
    names_file: str = "obj.names"


@dataclass
class PropsClassificationSettings(FileSourceSettings):
    """See deeprob.data.props.PropsClassificationSource."""

    _target_: str = "deeprob.data.props.PropsClassificationSource"
    md5_file: str | None = None


@dataclass
class PropsDetectionSettings(FileSourceSettings):
    """See deeprob.data.props.PropsDetectionSource."""

    _target_: str = "deeprob.data.props.PropsDetectionSource"


@dataclass
class PropsPoseSettings(FileSourceSettings):
    """See deeprob.data.props_pose.PropsPoseSource."""

    _target_: str = "deeprob.data.props_pose.PropsPoseSource"
    depth_scale: float = 1e-4
    translation_scale: float = 1.0


@dataclass
class BopSettings(FileSourceSettings):
    """See deeprob.data.bop.BopSource."""

    _target_: str = "deeprob.data.bop.BopSource"
    splits: dict[str, list[str]] = MISSING
    targets: dict[str, str] | None = None
    class_names: dict[int, str] | None = None
    labels: bool = True


@dataclass
class CocoSettings(FileSourceSettings):
    """See deeprob.data.coco.CocoSource."""

    _target_: str = "deeprob.data.coco.CocoSource"
    annotations: dict[str, str] = MISSING
    images: dict[str, str] | None = None


@dataclass
class FolderSettings(FileSourceSettings):
    """See deeprob.data.folder.FolderSource."""

    _target_: str = "deeprob.data.folder.FolderSource"
    splits: dict[str, str] = MISSING


@dataclass
class PointsSettings(FileSourceSettings):
    """See deeprob.data.points.PointsSource."""

    _target_: str = "deeprob.data.points.PointsSource"
    splits: dict[str, list[str]] = MISSING


@dataclass
class PyBulletSettings:
    """See deeprob.sim.source.PyBulletSource."""

    _target_: str = "deeprob.sim.source.PyBulletSource"
    settings: SimSettings = MISSING
    cache_dir: str = "${data.root}"
    workers: int = 2


@dataclass
class PyBulletData(DataSettings):
    """A simulated data set; `sim` says what is in it."""

    sim: SimSettings = field(default_factory=SimSettings)
    source: PyBulletSettings = field(default_factory=PyBulletSettings)


@dataclass
class ResNetSettings:
    """See deeprob.models.resnet.ResNet."""

    _target_: str = "deeprob.models.resnet.ResNet"
    blocks: list[int] = field(default_factory=lambda: [2, 2, 2, 2])
    width: int = 64
    stem: str = "imagenet"
    norm: bool = True
    dropout: float = 0.0
    input_norm: bool = False
    in_channels: int = 3
    backend: str = "deeprob"


@dataclass
class CrossEntropySettings:
    """See deeprob.training.objectives.CrossEntropy."""

    _target_: str = "deeprob.training.objectives.CrossEntropy"
    label_smoothing: float = 0.0


@dataclass
class HingeSettings:
    """See deeprob.training.objectives.Hinge."""

    _target_: str = "deeprob.training.objectives.Hinge"
    margin: float = 1.0


@dataclass
class SGDSettings:
    """See torch.optim.SGD."""

    _target_: str = "torch.optim.SGD"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4


@dataclass
class AdamWSettings:
    """See torch.optim.AdamW."""

    _target_: str = "torch.optim.AdamW"
    lr: float = 1e-3
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    weight_decay: float = 0.05


@dataclass
class ConstantSettings:
    """See deeprob.training.schedules.Constant."""

    _target_: str = "deeprob.training.schedules.Constant"


@dataclass
class CosineSettings:
    """See deeprob.training.schedules.Cosine."""

    _target_: str = "deeprob.training.schedules.Cosine"
    warmup: float = 0.05
    final: float = 0.0


@dataclass
class OneCycleSettings:
    """See deeprob.training.schedules.OneCycle."""

    _target_: str = "deeprob.training.schedules.OneCycle"
    peak: float = 0.3
    start: float = 0.04
    final: float = 1e-4


@dataclass
class OptimSettings:
    """An optimiser, its schedule, and whether weight decay pulls on biases and norms too."""

    optimizer: Any = MISSING
    schedule: Any = MISSING
    decay_norm_and_bias: bool = False


@dataclass
class TrainerSettings:
    """How long and on what to train.

    accelerator, devices, precision, gradient_clip_val: as Lightning's Trainer takes them.
    patience: stop after so many epochs in which `monitor` did not get better; 0 never stops early.
    threads: CPU threads of torch; 0 leaves torch's choice.
    channels_last: keep images as (N, H, W, C) in memory, faster on most CPUs and GPUs.
    log_every: training steps between two rows of metrics.jsonl.
    """

    max_epochs: int = 20
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    gradient_clip_val: float | None = None
    monitor: str = "val/top1_accuracy"
    mode: str = "max"
    patience: int = 0
    threads: int = 0
    channels_last: bool = False
    log_every: int = 10


@dataclass
class CSVLoggerSettings:
    """See lightning.pytorch.loggers.CSVLogger."""

    _target_: str = "lightning.pytorch.loggers.CSVLogger"
    name: str = "csv"


@dataclass
class TensorBoardLoggerSettings:
    """See lightning.pytorch.loggers.TensorBoardLogger."""

    _target_: str = "lightning.pytorch.loggers.TensorBoardLogger"
    name: str = "tensorboard"


@dataclass
class WandbLoggerSettings:
    """See lightning.pytorch.loggers.WandbLogger. Offline unless `offline=false` is asked for."""

    _target_: str = "lightning.pytorch.loggers.WandbLogger"
    project: str = "deeprob"
    group: str | None = "${name}"
    offline: bool = True


@dataclass
class EvaluationSettings:
    """What a run is judged by.

    split: data set split. checkpoint: `best` (chosen on val) or `last`. baselines: measured beside the model.
    bootstrap_samples: resamplings behind each 95 % interval. neighbours: k of the k-NN baseline.
    """

    split: str = "test"
    checkpoint: str = "best"
    baselines: list[str] = field(default_factory=lambda: ["majority", "knn"])
    neighbours: int = 5
    bootstrap_samples: int = 2000
    seed: int = 0


@dataclass
class GradientFlowSettings:
    """See deeprob.training.gradient_flow.GradientFlow."""

    _target_: str = "deeprob.training.gradient_flow.GradientFlow"
    every: int = 50


@dataclass
class TrainConfig:
    """Root of `deeprob train`.

    name: of the experiment, and so of the folder its runs lie in. run: a run folder to go on with.
    callbacks: Lightning callbacks by any name, such as gradient_flow.
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


@dataclass
class EvaluateConfig:
    """Root of `deeprob evaluate`. split and checkpoint: null takes what the run's own config says.

    robustness: evaluate under graded corruptions of the images too.
    """

    run: str = MISSING
    split: str | None = None
    checkpoint: str | None = None
    robustness: bool = False
    allowed_targets: list[str] = field(default_factory=list)


@dataclass
class ReportConfig:
    """Root of `deeprob report`: one run, or a table of all evaluated runs that a pattern matches.

    metric, base, output: of the table; base: the group the others are compared with, null for the first.
    """

    run: str | None = None
    runs: str | None = None
    metric: str = "top1_accuracy"
    base: str | None = None
    output: str = "comparison"


@dataclass
class AblationSettings:
    """Variants of a base experiment; the base itself is always run.

    design: `list` (variants: name -> overrides), or one made from factors (config key -> values):
    `one_at_a_time`, `leave_one_out`, `factorial`; see deeprob.evaluation.designs.
    """

    name: str = MISSING
    experiment: str = MISSING
    metric: str = "top1_accuracy"
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    overrides: list[str] = field(default_factory=list)
    design: str = "list"
    variants: dict[str, list[str]] = field(default_factory=dict)
    factors: dict[str, list[Any]] = field(default_factory=dict)


@dataclass
class AblateConfig:
    """Root of `deeprob ablate`. jobs: runs at a time; dry_run: print the plan only."""

    ablation: AblationSettings = field(default_factory=AblationSettings)
    paths: PathSettings = field(default_factory=PathSettings)
    jobs: int = 1
    dry_run: bool = False


@dataclass
class InfoConfig:
    """Root of `deeprob info`. data: a data set to look into; sheet: where its contact sheet is written."""

    paths: PathSettings = field(default_factory=PathSettings)
    data: Any = None
    sheet: str | None = None


@dataclass
class GraphConfig:
    """Root of `deeprob graph`: one of expression, model, run, jacobian and chain says what to look at.

    expression, at, upstream: a formula, its values, and the gradient of a loss by an output that is an array.
    sigmoid: `gate` or its four `primitives`. show: table flat picture page; null takes what fits.
    model, num_classes, input, batch: a network, and the shape (without the batch) of what it is shown;
    a run is shown as many samples of its own.
    depth: levels of blocks that a network's picture opens. checkpoint: of the run, `best` or `last`.
    jacobian, N, D, M: a layer, its samples, inputs and outputs. chain: sizes, as 4096,512,512,1.
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
    checkpoint: str = "best"
    jacobian: str | None = None
    N: int = 2
    D: int = 5
    M: int = 4
    chain: str | None = None
    show: str | None = None
    out: str | None = None
    seed: int = 0
    allowed_targets: list[str] = field(default_factory=list)
    paths: PathSettings = field(default_factory=PathSettings)


SCHEMA: dict[str, dict[str, type]] = {
    "root": {
        "train": TrainConfig,
        "evaluate": EvaluateConfig,
        "report": ReportConfig,
        "ablate": AblateConfig,
        "info": InfoConfig,
        "graph": GraphConfig,
    },
    "data": {"files": DataSettings, "pybullet": PyBulletData},
    "source": {
        "darknet": DarknetSettings,
        "props_classification": PropsClassificationSettings,
        "props_detection": PropsDetectionSettings,
        "props_pose": PropsPoseSettings,
        "bop": BopSettings,
        "coco": CocoSettings,
        "folder": FolderSettings,
        "points": PointsSettings,
    },
    "model": {"resnet": ResNetSettings},
    "objective": {"cross_entropy": CrossEntropySettings, "hinge": HingeSettings},
    "optimizer": {"sgd": SGDSettings, "adamw": AdamWSettings},
    "schedule": {"constant": ConstantSettings, "cosine": CosineSettings, "one_cycle": OneCycleSettings},
    "callbacks": {"gradient_flow": GradientFlowSettings},
    "logger": {
        "csv": CSVLoggerSettings,
        "tensorboard": TensorBoardLoggerSettings,
        "wandb": WandbLoggerSettings,
    },
}
"""Group -> name -> dataclass; in YAML `/schema/<group>: <name>`."""

LEAVES: dict[str, type] = {
    vars(schema)["_target_"]: schema
    for schema in list(globals().values())
    if isinstance(schema, type) and "_target_" in vars(schema)
}
"""Target -> the dataclass of its arguments."""
