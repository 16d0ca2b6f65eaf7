"""What a data config may hold: readers, views, simulation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from deeprob.data.settings import Augmentation as Augmentation
from deeprob.data.settings import DetectionAugmentation as DetectionAugmentation
from deeprob.data.settings import PointAugmentation as PointAugmentation
from deeprob.data.settings import WindowAugmentation as WindowAugmentation
from deeprob.sim.settings import SimSettings


@dataclass
class ClassificationViewSettings:
    """See deeprob.tasks.classification.view.ClassificationView."""

    _target_: str = "deeprob.tasks.classification.view.ClassificationView"
    size: int = 32
    margin: float = 0.0
    min_pixels: int = 6
    min_visible_fraction: float = 0.0
    square: bool = False
    channels: int = 3


@dataclass
class RepresentationViewSettings(ClassificationViewSettings):
    """See deeprob.tasks.representation.view.RepresentationView."""

    _target_: str = "deeprob.tasks.representation.view.RepresentationView"


@dataclass
class DetectionViewSettings:
    """See deeprob.tasks.detection.view.DetectionView."""

    _target_: str = "deeprob.tasks.detection.view.DetectionView"
    width: int = 320
    height: int = 240


@dataclass
class InstanceViewSettings(DetectionViewSettings):
    """See deeprob.tasks.instance_segmentation.view.InstanceView."""

    _target_: str = "deeprob.tasks.instance_segmentation.view.InstanceView"


@dataclass
class SegmentationViewSettings:
    """See deeprob.tasks.segmentation.view.SegmentationView."""

    _target_: str = "deeprob.tasks.segmentation.view.SegmentationView"
    width: int = 320
    height: int = 240


@dataclass
class PoseViewSettings:
    """See deeprob.tasks.pose.view.PoseView."""

    _target_: str = "deeprob.tasks.pose.view.PoseView"
    size: int = 128
    cell: int = 8
    margin: float = 0.25
    min_pixels: int = 16
    min_visible: float = 0.0
    jitter: float = 0.0
    turn: float = 0.0


@dataclass
class PoseFrameViewSettings:
    """See deeprob.tasks.pose.frame_view.PoseFrameView."""

    _target_: str = "deeprob.tasks.pose.frame_view.PoseFrameView"
    width: int = 320
    height: int = 240
    cell: int = 4


@dataclass
class PointsViewSettings:
    """See deeprob.tasks.points.view.PointsView."""

    _target_: str = "deeprob.tasks.points.view.PointsView"
    num_points: int = 512
    min_points: int = 32
    scale: float = 0.1
    noise: float = 0.0
    viewpoints: dict[str, int] = field(default_factory=lambda: {"train": 160, "val": 40, "test": 40})
    orientation: str = "any"
    partial: bool = False
    distance: float = 0.8
    seed: int = 0


@dataclass
class PartsViewSettings(PointsViewSettings):
    """See deeprob.tasks.part_segmentation.view.PartsView."""

    _target_: str = "deeprob.tasks.part_segmentation.view.PartsView"


@dataclass
class DataSettings:
    """A data set, its view, and how batches are cut from it.

    root: where the files lie.
    on_bad_sample: `error` stops at a bad sample, `skip` leaves it out and counts it.
    label_map: class -> its new name, or null to leave its objects out; classes of one new name are merged.
    extra_splits: name of a further split -> {source, split, label_map}: where its frames come from, and what
        the split is called there; its classes are some of this data set's.
    val_fraction: share of the training groups held out as `val` where the source has none.
    num_folds, fold: cross-validation by whole groups, which of how many parts of `train` is `val`; 0: none.
    view, augmentation: what a task sees, and what its batches are varied by; data/view=... chooses both.
    balanced: what training batches hold equally often: class, frame or group (a recording, an object
        instance), or none; true is class. `repeat`, for frames of many objects, shows those with rare
        classes more often.
    memory_budget_gb: splits larger than this are mapped from files, not held in memory.
    workers: threads that prepare batches ahead; 0 prepares each when it is asked for.
    labelled: share of the training samples whose labels are used, of each class; labelled_by: `sample`, or
        whole `frame`s or `group`s (recordings). unlabelled: where an objective's unlabelled samples come
        from: a data config by its name, or overrides that choose one; null: the training samples that are
        left.
    """

    root: str = MISSING
    source: Any = MISSING
    on_bad_sample: str = "error"
    label_map: dict[str, str | None] = field(default_factory=dict)
    extra_splits: dict[str, Any] = field(default_factory=dict)
    view: Any = MISSING
    augmentation: Any = MISSING
    batch_size: int = 128
    eval_batch_size: int = 512
    val_fraction: float = 0.0
    num_folds: int = 0
    fold: int = 0
    balanced: Any = "none"
    memory_budget_gb: float = 8.0
    workers: int = 0
    labelled: float = 1.0
    labelled_by: str = "sample"
    unlabelled: Any = None


@dataclass
class FileSourceSettings:
    """What every reader of files takes."""

    root: str = "${data.root}"
    on_bad_sample: str = "${data.on_bad_sample}"
    name: str | None = None


@dataclass
class DarknetSettings(FileSourceSettings):
    """See deeprob.data.readers.darknet.DarknetSource."""

    _target_: str = "deeprob.data.readers.darknet.DarknetSource"
    splits: dict[str, list[str]] = MISSING
    names_file: str = "obj.names"
    missing_labels: str = "error"
    clip_boxes: bool = False


@dataclass
class PropsClassificationSettings(FileSourceSettings):
    """See deeprob.data.readers.props.PropsClassificationSource."""

    _target_: str = "deeprob.data.readers.props.PropsClassificationSource"
    md5_file: str | None = None


@dataclass
class PropsDetectionSettings(FileSourceSettings):
    """See deeprob.data.readers.props.PropsDetectionSource."""

    _target_: str = "deeprob.data.readers.props.PropsDetectionSource"


@dataclass
class PropsPoseSettings(FileSourceSettings):
    """See deeprob.data.readers.props_pose.PropsPoseSource."""

    _target_: str = "deeprob.data.readers.props_pose.PropsPoseSource"
    depth_scale: float = 1e-4
    stored: str = "T_obj_cam"
    translation_scale: float = 1.0
    model_scale: float = 1.0
    check: bool = True


@dataclass
class BopSettings(FileSourceSettings):
    """See deeprob.data.readers.bop.BopSource."""

    _target_: str = "deeprob.data.readers.bop.BopSource"
    splits: dict[str, list[str]] = MISSING
    targets: dict[str, str | None] = field(default_factory=dict)
    class_names: dict[int, str] | None = None
    labels: bool = True
    boxes: str = "visible"


@dataclass
class CocoSettings(FileSourceSettings):
    """See deeprob.data.readers.coco.CocoSource."""

    _target_: str = "deeprob.data.readers.coco.CocoSource"
    annotations: dict[str, str] = MISSING
    images: dict[str, str] | None = None
    clip_boxes: bool = False
    crowds: str = "regions"


@dataclass
class VocSettings(FileSourceSettings):
    """See deeprob.data.readers.voc.VocSource."""

    _target_: str = "deeprob.data.readers.voc.VocSource"
    splits: dict[str, str] = MISSING
    names_file: str | None = None
    missing_labels: str = "error"
    clip_boxes: bool = False


@dataclass
class KittiSettings(FileSourceSettings):
    """See deeprob.data.readers.kitti.KittiSource."""

    _target_: str = "deeprob.data.readers.kitti.KittiSource"
    splits: dict[str, str] = MISSING
    names: list[str] | None = None
    missing_labels: str = "error"
    clip_boxes: bool = False


@dataclass
class FolderSettings(FileSourceSettings):
    """See deeprob.data.readers.folder.FolderSource."""

    _target_: str = "deeprob.data.readers.folder.FolderSource"
    splits: dict[str, str] = MISSING


@dataclass
class LabelMapSettings(FileSourceSettings):
    """See deeprob.data.readers.label_maps.LabelMapSource."""

    _target_: str = "deeprob.data.readers.label_maps.LabelMapSource"
    images: dict[str, str] = MISSING
    maps: dict[str, str] = MISSING
    values: dict[int, str] = field(default_factory=dict)
    background: list[int] = field(default_factory=lambda: [0])
    ignore: list[int] = field(default_factory=lambda: [255])
    rest: str = "error"
    image_suffix: str = ""
    map_suffix: str = ""
    missing_maps: str = "error"
    panoptic: dict[str, str] | None = None


@dataclass
class PointsSettings(FileSourceSettings):
    """See deeprob.data.readers.points.PointsSource."""

    _target_: str = "deeprob.data.readers.points.PointsSource"
    splits: dict[str, list[str]] = MISSING
    class_from: str = "name"
    part_names: list[str] = field(default_factory=list)


@dataclass
class PyBulletSettings:
    """See deeprob.sim.source.PyBulletSource."""

    _target_: str = "deeprob.sim.source.PyBulletSource"
    settings: SimSettings = MISSING
    cache_dir: str = "${data.root}"
    workers: int = 2
    fresh: bool = False


@dataclass
class PyBulletData(DataSettings):
    """A simulated data set; `sim` says what is in it."""

    sim: SimSettings = field(default_factory=SimSettings)
    source: PyBulletSettings = field(default_factory=PyBulletSettings)
