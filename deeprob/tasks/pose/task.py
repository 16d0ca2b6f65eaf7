"""6-D pose: where each object is and how it is turned, from a crop around it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from deeprob.data.frame import Frame
from deeprob.data.predictions.files import Pose as Estimate
from deeprob.data.predictions.names import Naming
from deeprob.data.predictions.outputs import Output, PoseOutput
from deeprob.errors import InputError
from deeprob.metrics import pose_matching
from deeprob.metrics.pose_matching import BOUNDED, METRICS
from deeprob.metrics.scores import Scores, SummedScores
from deeprob.page import drawn
from deeprob.page.overlays import Image
from deeprob.runs import write_text
from deeprob.tasks.base import Loss, method_of
from deeprob.tasks.frames import Answer, Chance, FrameTask
from deeprob.tasks.pose.meter import PoseMeter, truths_of

EXPECTED = "a pose network"


class PoseChance(Chance):
    """The pose of the same object in another image: a method is told which objects there are."""

    def __init__(self, kind: type[FrameTask], unit: str, seed: int) -> None:
        super().__init__(kind, unit, seed)
        self._poses: dict[int, list[tuple[str, int, Estimate]]] = {}

    def note(self, index: int, frame: Frame) -> None:
        for estimate in truths_of(frame):
            self._poses.setdefault(estimate.class_id, []).append((self.unit_of(frame), index, estimate))

    def answer(self, index: int, frame: Frame, frames: Any) -> list[Estimate]:
        unit, found = self.unit_of(frame), []
        for target in truths_of(frame):
            known = self._poses[target.class_id]
            others = [e for of, _, e in known if of != unit] or [e for _, i, e in known if i != index]
            if others:
                found.append(others[int(self.rng.integers(len(others)))])
        return found


class Pose(FrameTask):
    """Poses of objects in a frame."""

    name = "pose"
    title = "Object poses"
    headline = "add_or_add_s_auc"
    counted = "instances"
    headlines = ("bop_average_recall", "add_or_add_s_auc", "recall_5deg_5cm")
    per_class = ("bop_average_recall", "add_or_add_s_auc", "rotation_error_deg", "translation_error_cm")
    legend = "Green: where the object is. Red: where the estimate puts it."
    whole = False

    def loss(self, model: nn.Module, batch: Any) -> Loss:
        """The model's own loss: a pose network has a method `losses(outputs, batch)` of named terms."""
        terms = method_of(model, "losses", EXPECTED)(model(batch.images), batch)
        return Loss(sum(terms.values()), {name: term.detach() for name, term in terms.items()})

    def predict(self, model: nn.Module, batch: Any) -> list[Estimate]:
        """One estimate a crop: the model's `poses(outputs, batch)`, float (B, 4, 4), metres."""
        poses = method_of(model, "poses", EXPECTED)(model(batch.images), batch).double().cpu().numpy()
        return [Estimate(int(c), 1.0, T) for c, T in zip(batch.labels.tolist(), poses, strict=True)]

    def meter(self, samples: Any) -> PoseMeter:
        return PoseMeter(self.data.source, "frame")

    @classmethod
    def frame_meter(cls, source: Any, unit: str) -> PoseMeter:
        return PoseMeter(source, unit)

    @classmethod
    def truth_of(cls, frame: Frame) -> list[Estimate]:
        return list(truths_of(frame))

    @classmethod
    def chance(cls, unit: str, seed: int) -> PoseChance:
        return PoseChance(cls, unit, seed)

    def collect(self, found: dict[str, Any], key: str, prediction: Estimate) -> None:
        found.setdefault(key.rpartition(" object ")[0], []).append(prediction)

    def write(self, found: Mapping[str, list[Estimate]], split: str, file: Path) -> Answer:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["scene_id", "im_id", "obj_id", "score", "R", "t", "time"])
        for number, (_, estimates) in enumerate(sorted(found.items())):
            for e in estimates:
                R, t = e.T_cam_obj[:3, :3], 1000 * e.T_cam_obj[:3, 3]
                parts = (" ".join(map(repr, values.ravel().tolist())) for values in (R, t))
                writer.writerow([0, number, e.class_id, e.score, *parts, -1])
        write_text(file, text.getvalue())
        return lambda _, frame: found.get(frame.key, [])

    def output(self, names: Naming) -> Output:
        return PoseOutput(names)

    def draw(self, frame: Frame, said: Sequence[Estimate]) -> Image:
        if frame.K is None:
            raise InputError("no camera matrix to draw poses with", where=frame.key)
        found = [(e.T_cam_obj, f"{self.data.classes[e.class_id]} {e.score:.2f}") for e in said]
        return drawn.poses(frame.image, frame.K, found)

    @classmethod
    def predictions_file(cls, split: str) -> str:
        return f"predictions_{split}.csv"

    @classmethod
    def scores_from(cls, arrays: Mapping[str, Any]) -> Scores:
        bounded = np.arange(len(METRICS)) < BOUNDED
        return SummedScores.of_arrays(arrays, METRICS, pose_matching.metrics_of_sums, bounded)
