"""What classes and keys of earlier versions are called now: run folders of theirs name the old ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEYS = {"optim.body_lr_factor": "optim.backbone_lr_factor"}

_VIEWS = {
    "ClassificationView": "classification",
    "DetectionView": "detection",
    "SegmentationView": "segmentation",
    "PoseView": "pose",
    "PointsView": "points",
    "PartsView": "part_segmentation",
}
_READERS = ("bop", "coco", "darknet", "folder", "points", "props", "props_pose")

_MODULES = {f"deeprob.data.{name}": f"deeprob.data.readers.{name}" for name in _READERS}


def current_target(target: str) -> str:
    """The name that a `_target_` has today; the same where it did not move."""
    module, _, name = target.rpartition(".")
    if module in ("deeprob.data.views", "deeprob.data.frame_views", "deeprob.data.point_views"):
        return f"deeprob.tasks.{_VIEWS.get(name, 'classification')}.view.{name}"
    return f"{_MODULES.get(module, module)}.{name}"


def current_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config's values under the keys of today."""
    renamed = dict(values)
    for old, new in KEYS.items():
        part, _, key = old.partition(".")
        inner = renamed.get(part)
        if isinstance(inner, dict) and key in inner:
            renamed[part] = {(new.partition(".")[2] if name == key else name): v for name, v in inner.items()}
    return renamed
