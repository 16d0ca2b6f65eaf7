"""The networks that take whole frames, or crops with a pose: detectors, segmenters, pose networks."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import SI

from deeprob.schema.models import IN_CHANNELS, NetworkSettings


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
