"""Crops as classification sees them; their classes are looked at only to judge features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from deeprob.tasks.classification.view import ClassificationView


@dataclass(frozen=True)
class RepresentationView(ClassificationView):
    """Crops of the instances' boxes: see ClassificationView."""

    task: ClassVar[str] = "deeprob.tasks.representation.task.Representation"
