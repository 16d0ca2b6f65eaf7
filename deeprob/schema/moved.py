"""Where the classes of earlier versions lie now: run folders and configs of theirs name the old modules."""

from __future__ import annotations

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
