"""What the config of a classical model may hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from deeprob.schema.models import IN_CHANNELS, NetworkSettings


@dataclass
class LinearSettings(NetworkSettings):
    """See deeprob.models.linear.LinearClassifier. features may also be the folder of a run."""

    _target_: str = "deeprob.models.linear.LinearClassifier"
    features: str = "pixels"
    input_norm: bool = False
    image_size: int = 32
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class TwoLayerNetSettings(NetworkSettings):
    """See deeprob.models.two_layer_net.TwoLayerNet. features may also be the folder of a run."""

    _target_: str = "deeprob.models.two_layer_net.TwoLayerNet"
    hidden: int = 128
    features: str = "pixels"
    input_norm: bool = False
    image_size: int = 32
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class KNNSettings:
    """See deeprob.models.knn_classifier.KNNClassifier. features may also be the folder of a run."""

    _target_: str = "deeprob.models.knn_classifier.KNNClassifier"
    k: int | None = 5
    metric: str = "l2"
    weights: str = "uniform"
    features: str = "pixels"
    input_norm: bool = False
    candidates: list[int] = field(default_factory=lambda: [1, 3, 5, 7, 9, 13, 17, 25, 35, 50])
    folds: int = 5
    memory_mib: int = 256
    image_size: int = 32
    in_channels: int = IN_CHANNELS


@dataclass
class HOGSVMSettings:
    """See deeprob.models.detection.hog_svm.HOGSVM."""

    _target_: str = "deeprob.models.detection.hog_svm.HOGSVM"
    cell: int = 4
    area: int = 36
    largest: float = 2.0
    octave: int = 3
    negatives: int = 8
    mined: int = 4
    strength: float = 1e-3
    lr: float = 0.1
    seed: int = 0
    score_threshold: float = 0.05
    candidates: int = 500
    nms_iou: float = 0.3
    max_detections: int = 100
