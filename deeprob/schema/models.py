"""What a model config may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import SI


@dataclass
class NetworkSettings:
    """What every network takes beside its constructor's arguments; the training makes it so.

    pretrained: file of a state dict, a checkpoint or a run folder, whose weights of the same name and shape
        are where training starts.
    freeze: patterns of parameter names, such as conv1.* or layer1.*, that stay as they are.
    compile: run through torch.compile; the names in a checkpoint stay the same.
    """

    pretrained: str | None = None
    freeze: list[str] = field(default_factory=list)
    compile: bool = False


NETWORK_OPTIONS = frozenset(NetworkSettings.__dataclass_fields__)


def constructed(model: Mapping[str, Any]) -> dict[str, Any]:
    """What of a network's config its class is made of: all but what every network has beside it."""
    return {key: value for key, value in model.items() if key not in NETWORK_OPTIONS}


"""Keys of a model config that are not the constructor's."""

IN_CHANNELS: int = SI("${oc.select:data.view.channels,${oc.select:input.0,3}}")
"""As many as the view gives, or as the shape has that `info` and `graph` are asked about."""


@dataclass
class ResNetSettings(NetworkSettings):
    """See deeprob.models.resnet.ResNet."""

    _target_: str = "deeprob.models.resnet.ResNet"
    blocks: list[int] = field(default_factory=lambda: [2, 2, 2, 2])
    block: str = "basic"
    width: int = 64
    stem: str = "imagenet"
    norm: bool = True
    zero_init: bool = True
    dropout: float = 0.0
    input_norm: bool = False
    fused: bool = False
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class MLPSettings(NetworkSettings):
    """See deeprob.models.mlp.MLP."""

    _target_: str = "deeprob.models.mlp.MLP"
    widths: list[int] = field(default_factory=lambda: [512, 256])
    norm: str = "batch"
    dropout: float = 0.0
    input_norm: bool = False
    image_size: int = 32
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class AlexNetSettings(NetworkSettings):
    """See deeprob.models.alexnet.AlexNet."""

    _target_: str = "deeprob.models.alexnet.AlexNet"
    variant: str = "imagenet"
    width: int = 64
    hidden: int = 4096
    dropout: float = 0.5
    input_norm: bool = False
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class CNNSettings(NetworkSettings):
    """See deeprob.models.cnn.CNN."""

    _target_: str = "deeprob.models.cnn.CNN"
    widths: list[int] = field(default_factory=lambda: [32, 64, 128])
    convs: int = 2
    norm: bool = True
    dropout: float = 0.0
    input_norm: bool = False
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class ViTSettings(NetworkSettings):
    """See deeprob.models.vit.ViT."""

    _target_: str = "deeprob.models.vit.ViT"
    patch: int = 4
    dim: int = 128
    depth: int = 4
    heads: int = 4
    mlp_ratio: float = 4.0
    pool: str = "token"
    positions: str = "learned"
    dropout: float = 0.0
    drop_path: float = 0.0
    input_norm: bool = False
    fused: bool = False
    image_size: int = 32
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class PointNetSettings(NetworkSettings):
    """See deeprob.models.pointnet.PointNet."""

    _target_: str = "deeprob.models.pointnet.PointNet"
    task: str = "classification"
    width: int = 64
    features: int = 1024
    input_transform: bool = True
    feature_transform: bool = True
    orthogonality: float = 0.001
    norm: str = "batch"
    dropout: float = 0.3
    backend: str = "deeprob"


@dataclass
class FCOSSettings(NetworkSettings):
    """See deeprob.models.detection.fcos.FCOS."""

    _target_: str = "deeprob.models.detection.fcos.FCOS"
    backbone: str = "compact"
    widths: list[int] | None = None
    blocks: list[int] | None = None
    stem: str | None = None
    strides: list[int] = field(default_factory=lambda: [8, 16, 32])
    width: int = 64
    neck_norm: bool = True
    head_convs: int = 1
    head_norm: str = "batch"
    share_heads: bool = False
    scales: bool = True
    kernel: int = 1
    separable: bool = False
    assignment: str = "centre"
    radius: float = 1.5
    level_side: float = 8.0
    distance: str = "softplus"
    bins: int = 0
    box_weight: float = 1.0
    spread_weight: float = 0.25
    corners: bool = False
    score_threshold: float = 0.005
    candidates: int = 500
    nms_iou: float = 0.6
    max_detections: int = 100
    soft_nms: float = 0.0
    test_scales: list[float] = field(default_factory=lambda: [1.0])
    test_flip: bool = False
    fused: bool = False
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class FasterRCNNSettings(NetworkSettings):
    """See deeprob.models.detection.faster_rcnn.FasterRCNN."""

    _target_: str = "deeprob.models.detection.faster_rcnn.FasterRCNN"
    backbone: str = "compact"
    widths: list[int] | None = None
    blocks: list[int] | None = None
    stem: str | None = None
    strides: list[int] = field(default_factory=lambda: [4, 8, 16])
    width: int = 64
    neck_norm: bool = True
    anchor_scale: float = 4.0
    anchor_sides: list[float] | None = None
    ratios: list[float] = field(default_factory=lambda: [0.5, 1.0, 2.0])
    rpn_low: float = 0.3
    rpn_high: float = 0.6
    rpn_samples: int = 64
    rpn_before: int = 100
    rpn_after: int = 100
    rpn_nms: float = 0.7
    roi_cells: float = 14.0
    roi_features: int = 0
    roi_convs: int = 2
    roi_samples: int = 64
    roi_share: float = 0.25
    roi_iou: float = 0.5
    cascade: list[float] = field(default_factory=list)
    corners: bool = False
    score_threshold: float = 0.05
    candidates: int = 1000
    nms_iou: float = 0.5
    max_detections: int = 100
    soft_nms: float = 0.0
    test_scales: list[float] = field(default_factory=lambda: [1.0])
    test_flip: bool = False
    fused: bool = False
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class MaskRCNNSettings(FasterRCNNSettings):
    """See deeprob.models.detection.mask_rcnn.MaskRCNN."""

    _target_: str = "deeprob.models.detection.mask_rcnn.MaskRCNN"
    mask_width: int = 64
    mask_convs: int = 4
    mask_norm: bool = True


@dataclass
class PoseDenseSettings(NetworkSettings):
    """See deeprob.models.pose.dense.PoseDense."""

    _target_: str = "deeprob.models.pose.dense.PoseDense"
    backbone: str = "compact"
    widths: list[int] | None = field(default_factory=lambda: [32, 64, 128, 192])
    blocks: list[int] | None = field(default_factory=lambda: [0, 2, 2, 1])
    stem: str | None = "patch"
    width: int = 96
    stride: int = SI("${oc.select:data.view.cell,8}")
    fragments: int = 64
    head_widths: list[int] = field(default_factory=lambda: [96, 128])
    hidden: int = 256
    symmetries: bool = True
    decode: str = "pnp"
    image_size: int = SI("${oc.select:data.view.size,${oc.select:input.1,128}}")
    fused: bool = False
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class PoseCNNSettings(NetworkSettings):
    """See deeprob.models.pose.posecnn.PoseCNN."""

    _target_: str = "deeprob.models.pose.posecnn.PoseCNN"
    backbone: str = "compact"
    widths: list[int] | None = field(default_factory=lambda: [32, 64, 128])
    blocks: list[int] | None = field(default_factory=lambda: [1, 2, 3])
    stem: str | None = "patch"
    strides: list[int] = field(default_factory=lambda: [8, 16])
    cell: int = SI("${oc.select:data.view.cell,4}")
    class_width: int = 64
    centre_width: int = 128
    pool_width: int = 128
    pool: int = 7
    hidden: int = 256
    min_cells: int = 12
    decode: str = "hough"
    fused: bool = False
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class UNetSettings(NetworkSettings):
    """See deeprob.models.segmentation.unet.UNet."""

    _target_: str = "deeprob.models.segmentation.unet.UNet"
    backbone: str = "compact"
    widths: list[int] | None = None
    blocks: list[int] | None = None
    stem: str | None = None
    decoder: list[int] = field(default_factory=lambda: [32, 48, 64])
    detail: int = 0
    upsample: str = "bilinear"
    separable: bool = False
    dropout: float = 0.0
    flips: bool = False
    window: list[int] = field(default_factory=list)
    overlap: float = 0.25
    fused: bool = False
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class AtrousSegmenterSettings(NetworkSettings):
    """See deeprob.models.segmentation.atrous.AtrousSegmenter."""

    _target_: str = "deeprob.models.segmentation.atrous.AtrousSegmenter"
    head: str = "deeplab"
    backbone: str = "resnet50"
    widths: list[int] | None = None
    blocks: list[int] | None = None
    stem: str | None = None
    output_stride: int = 8
    rates: list[int] = field(default_factory=lambda: [12, 24, 36])
    width: int = 256
    dropout: float = 0.5
    auxiliary: bool = True
    flips: bool = False
    window: list[int] = field(default_factory=list)
    overlap: float = 0.25
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"


@dataclass
class FPNSegmenterSettings(NetworkSettings):
    """See deeprob.models.segmentation.fpn.FPNSegmenter."""

    _target_: str = "deeprob.models.segmentation.fpn.FPNSegmenter"
    backbone: str = "compact"
    widths: list[int] | None = None
    blocks: list[int] | None = None
    stem: str | None = None
    strides: list[int] = field(default_factory=lambda: [4, 8, 16, 32])
    width: int = 48
    neck_norm: bool = True
    head_width: int = 32
    dropout: float = 0.0
    flips: bool = False
    window: list[int] = field(default_factory=list)
    overlap: float = 0.25
    fused: bool = False
    in_channels: int = IN_CHANNELS
    backend: str = "deeprob"
