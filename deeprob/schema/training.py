"""What the configs of objective, optimiser, trainer, loggers and callbacks may hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class SupervisedSettings:
    """See deeprob.training.objectives.Supervised."""

    _target_: str = "deeprob.training.objectives.Supervised"


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
class LabelMapLossSettings:
    """See deeprob.tasks.segmentation.losses.LabelMapLoss."""

    _target_: str = "deeprob.tasks.segmentation.losses.LabelMapLoss"
    cross_entropy: float = 1.0
    dice: float = 0.0
    lovasz: float = 0.0
    auxiliary: float = 0.4
    class_weights: list[float] = field(default_factory=list)
    hard: float = 1.0
    hard_share: float = 0.0625
    label_smoothing: float = 0.0


@dataclass
class SiameseSettings:
    """What objectives on two views of a sample take."""

    hidden: int = 128
    out: int = 64
    depth: int = 2
    pairs: str = "image"


@dataclass
class SimCLRSettings(SiameseSettings):
    """See deeprob.training.objectives.SimCLR."""

    _target_: str = "deeprob.training.objectives.SimCLR"
    temperature: float = 0.2


@dataclass
class VICRegSettings(SiameseSettings):
    """See deeprob.training.objectives.VICReg."""

    _target_: str = "deeprob.training.objectives.VICReg"
    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0
    hidden: int = 256
    out: int = 256
    depth: int = 3


@dataclass
class RotationSettings:
    """See deeprob.training.objectives.Rotation."""

    _target_: str = "deeprob.training.objectives.Rotation"


@dataclass
class MaskedAutoencoderSettings:
    """See deeprob.training.objectives.MaskedAutoencoder."""

    _target_: str = "deeprob.training.objectives.MaskedAutoencoder"
    mask: float = 0.75
    dim: int = 64
    depth: int = 1
    heads: int = 4


@dataclass
class SemiSupervisedSettings:
    """What objectives that label samples take: see deeprob.training.objectives.self_training."""

    threshold: float = 0.95
    ratio: int = 3
    weight: float = 1.0
    ramp: int = 0
    soft: bool = False
    weak: dict[str, Any] = field(default_factory=dict)
    strong: dict[str, Any] = field(default_factory=dict)


@dataclass
class SelfTrainingSettings(SemiSupervisedSettings):
    """What those on a model's own predictions take beside it."""

    decay: float = 0.0
    align: bool = False


@dataclass
class PseudoLabelSettings(SelfTrainingSettings):
    """See deeprob.training.objectives.PseudoLabel."""

    _target_: str = "deeprob.training.objectives.PseudoLabel"


@dataclass
class FixMatchSettings(SelfTrainingSettings):
    """See deeprob.training.objectives.FixMatch."""

    _target_: str = "deeprob.training.objectives.FixMatch"


@dataclass
class MeanTeacherSettings(SelfTrainingSettings):
    """See deeprob.training.objectives.MeanTeacher."""

    _target_: str = "deeprob.training.objectives.MeanTeacher"


@dataclass
class LabelSpreadingSettings(SemiSupervisedSettings):
    """See deeprob.training.objectives.LabelSpreading."""

    _target_: str = "deeprob.training.objectives.LabelSpreading"
    threshold: float = 0.5
    neighbours: int = 10
    temperature: float = 0.05
    alpha: float = 0.99
    refresh: int = 0


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
    """An optimiser, its schedule, and whether weight decay pulls on biases and norms too.

    backbone_lr_factor: on the learning rate of all but the last layer, such as 0.1 with pretrained weights.
    """

    optimizer: Any = MISSING
    schedule: Any = MISSING
    decay_norm_and_bias: bool = False
    backbone_lr_factor: float = 1.0


@dataclass
class TrainerSettings:
    """How long and on what to train.

    accelerator, precision, gradient_clip_val: as Lightning's Trainer takes them.
    devices: processes on each of num_nodes machines, one a GPU; data.batch_size is of each of them.
    sync_batch_norm: batch norm over the batches of all processes together, not of each alone.
    accumulate: batches whose gradients are averaged before a step.
    ema: decay of a moving average of the weights, which validation and evaluation use; 0 is off.
    overfit: overfit so many training samples, or fail; 0 trains on all.
    lr_finder: steps over which the learning rate grows to find a good one, in place of a training; 0 is off.
    patience: stop after so many epochs in which `monitor` did not get better; 0 never stops early.
    threads: CPU threads of torch; 0 leaves torch's choice.
    channels_last: keep images as (N, H, W, C) in memory, faster on most CPUs and GPUs.
    monitor: metric that chooses the best checkpoint, mode: `max` or `min` of it; null: the task's headline.
    log_every: training steps between two rows of metrics.jsonl.
    val_every: most epochs between two validations; the last epoch is validated.
    """

    max_epochs: int = 20
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    sync_batch_norm: bool = False
    precision: str = "32-true"
    gradient_clip_val: float | None = None
    accumulate: int = 1
    ema: float = 0.0
    overfit: int = 0
    lr_finder: int = 0
    monitor: str | None = None
    mode: str = "max"
    patience: int = 0
    threads: int = 0
    channels_last: bool = False
    log_every: int = 10
    val_every: int = 1


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
class GradientFlowSettings:
    """See deeprob.training.gradient_flow.GradientFlow."""

    _target_: str = "deeprob.training.gradient_flow.GradientFlow"
    every: int = 50
