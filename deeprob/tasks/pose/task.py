"""6-D pose: where each object is and how it is turned, from a crop around it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import nn

from deeprob.data.frame import Frame, Instance
from deeprob.data.predictions.bop_csv import PoseEstimate, write_results
from deeprob.data.predictions.files import Pose as Estimate
from deeprob.data.predictions.names import Names, Naming
from deeprob.data.predictions.outputs import Output, PoseOutput
from deeprob.errors import InputError
from deeprob.metrics import pose_matching
from deeprob.metrics.pose_matching import BOUNDED, EARLIER_METRICS, METRICS
from deeprob.metrics.scores import Evaluation, Scores, SummedScores
from deeprob.models.pose.decode import RENDERED, WITHOUT_DEPTH
from deeprob.page import drawn
from deeprob.page.overlays import Image
from deeprob.tasks.base import Block, EvaluationOptions, Loss, Predict, method_of
from deeprob.tasks.deployed import Deployed
from deeprob.tasks.frames import RANDOM, Drawing, FramePredictor, FrameTask
from deeprob.tasks.pose.baselines import BASELINES
from deeprob.tasks.pose.boxes import TRUE, detected
from deeprob.tasks.pose.chance import PoseChance
from deeprob.tasks.pose.deployed import deployed
from deeprob.tasks.pose.meter import PoseMeter, truths_of
from deeprob.tasks.pose.objects import ObjectDepth, objects_of

if TYPE_CHECKING:
    from deeprob.data.batches.datamodule import PerceptionData

EXPECTED = "a pose network, such as model=pose_dense"
AXIS = 0.05  # metres, of the axes that a pose of an object of unknown size is drawn by
FEW_POINTS = 1000  # of a model, while training: a final evaluation takes all


class Pose(FrameTask):
    """Poses of objects in a frame."""

    name = "pose"
    title = "Object poses"
    headline = "add_or_add_s_recall"
    counted = "instances"
    headlines = ("add_or_add_s_recall", "recall_5deg_5cm", "bop_average_recall")
    per_class = (
        *("add_or_add_s_recall", "bop_average_recall"),
        *("median_rotation_error_deg", "median_translation_error_cm"),
    )
    counted_cost: ClassVar[str] = "an object"
    legend = "Green: where the object is. Red: where the estimate puts it."
    whole = False
    own_drawings = ("rotation", "translation")

    def loss(self, model: nn.Module, batch: Any) -> Loss:
        """The model's own loss: a pose network has a method `losses(outputs, batch)` of named terms."""
        if not self.data.source.has_models:
            self.data.source.mesh(0)  # says so
        terms = method_of(model, "losses", EXPECTED)(model(batch.images), batch)
        return Loss(sum(terms.values()), {name: term.detach() for name, term in terms.items()})

    def __init__(self, data: PerceptionData) -> None:
        super().__init__(data)
        self.compared: tuple[str, ...] = ()  # decodes beside the model's own, where they are asked for
        self.seconds: dict[str, float] = {}
        self.box_scores: dict[str, float] = {}  # of the detections that crops are cut around

    def model_arguments(self) -> dict[str, Any]:
        """The number of classes, and what a network is to know of their shapes, which a checkpoint keeps."""
        source = self.data.source
        objects = objects_of(source) if source.has_models else None
        return {**super().model_arguments(), "objects": objects}

    def predict(self, model: nn.Module, batch: Any) -> list[list[Estimate]]:
        """The estimate of each crop, in the frame's own camera, with those of the decodes `compared`.

        The model's method `poses(outputs, batch, decode)` gives float64 (B, 4, 4), metres, and scores.
        """
        poses_of = method_of(model, "poses", EXPECTED)
        outputs = self._timed("network", model, batch.images)
        found = [self._timed(d or "", poses_of, outputs, batch, d) for d in (None, *self.compared)]
        back = batch.turns.double().cpu().numpy().transpose(0, 2, 1)
        for poses, _ in found:
            poses[:, :3] = back @ poses[:, :3]
        estimates = []
        for i, label in enumerate(batch.labels.tolist()):
            own, *others = (Estimate(label, float(scores[i]), poses[i]) for poses, scores in found)
            also = dict(zip(self.compared, others, strict=True))
            estimates.append([Decoded(**vars(own), also=also) if also else own])
        return estimates

    def _timed(self, what: str, call: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        found = call(*arguments)
        self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - start
        return found

    def evaluate(
        self, predict: Predict, samples: Any, options: EvaluationOptions, file: Path, split: str
    ) -> Evaluation:
        """Evaluate beside the other decodes of the same network, and poses taken from training crops."""
        model = predict.model
        samples = self.checked(samples, options, split)
        others = [d for d in getattr(model, "decodes", ()) if d != getattr(model, "decode", None)]
        if not bool((samples.depth > 0).any()):
            others = [d for d in others if d not in ("depth", "icp", WITHOUT_DEPTH)]
        self.compared, self.seconds = tuple(others), {}
        getattr(model, "became", {}).clear()
        try:
            evaluation = super().evaluate(predict, samples, options, file, split)
        finally:
            self.compared, self.box_scores = (), {}
        told = [self._cost(len(samples), model), *self.remarks(model)]
        return replace(evaluation, notes=[*evaluation.notes, *told])

    def refine(self, model: nn.Module) -> None:
        """Draw each object and move its pose until the picture fits: the decode `render`."""
        if RENDERED not in getattr(model, "decodes", ()):
            raise InputError(f"{type(model).__name__} is not refined", fix="leave out refine=true")
        model.decode = RENDERED  # type: ignore[assignment]

    def remarks(self, model: nn.Module) -> list[str]:
        became: Mapping[str, int] = getattr(model, "became", {})
        each = ", ".join(f"{count:,} {what}" for what, count in became.items())
        return [f"By rendering, of {sum(became.values()):,} poses: {each}."] if each else []

    def checked(self, samples: Any, options: EvaluationOptions, split: str) -> Any:
        """The samples to evaluate: cut around the boxes that are asked for. Raises InputError."""
        if options.boxes == TRUE:
            return samples
        name = split.removeprefix(f"{self.data.source_name}-")
        keys = {key.rpartition(" object ")[0] for key in samples.keys}
        samples, self.box_scores = detected(options.boxes, self.data.source, name, self.data.view, keys)
        return samples

    def _cost(self, count: int, model: Any) -> str:
        """What an object costs, in words: the network, each decode, and what the refinement adds."""
        own = str(getattr(model, "decode", "decode"))
        ms = {what or own: 1000 * seconds / count for what, seconds in self.seconds.items()}
        each = [f"{what} {time:.1f} ms" for what, time in ms.items()]
        if {"depth", "icp"} <= ms.keys():
            each.append(f"of icp the refinement {max(0.0, ms['icp'] - ms['depth']):.1f} ms")
        return f"Time {self.counted_cost} on this machine, decodes one after another: {', '.join(each)}."

    def baselines(
        self, samples: Any, found: Mapping[str, Any], options: EvaluationOptions
    ) -> dict[str, FramePredictor | None]:
        """The labels of another image, the other decodes, and poses of training crops."""
        answers = self.decoded(found)
        if "train" in self.trained.splits:
            known, objects = self.trained.split("train"), objects_of(self.trained.source)
            for name, baseline in BASELINES.items():
                poses = baseline(known, samples, objects)
                for key, label, T in zip(samples.keys, samples.labels.tolist(), poses, strict=True):
                    self.collect(answers.setdefault(name, {}), key, [Estimate(label, 1.0, T)])
        return {RANDOM: None, **{name: predictor_of_keys(of) for name, of in answers.items()}}

    @staticmethod
    def decoded(found: Mapping[str, Any]) -> dict[str, dict[str, list[Estimate]]]:
        """What each of the decodes `compared` says of each frame, by its key."""
        answers: dict[str, dict[str, list[Estimate]]] = {}
        for key, estimates in found.items():
            for estimate in estimates:
                for name, other in getattr(estimate, "also", {}).items():
                    answers.setdefault(name, {}).setdefault(key, []).append(other)
        return answers

    def truths(self, samples: Any, batch: Any) -> list[Frame]:
        return [_frame_of(samples, index) for index in batch.indices.tolist()]

    def meter(self, samples: Any) -> PoseMeter:
        return PoseMeter(self.data.source, "frame", most_points=FEW_POINTS)

    @classmethod
    def frame_meter(cls, source: Any, unit: str) -> PoseMeter:
        return PoseMeter(source, unit)

    @classmethod
    def truth_of(cls, frame: Frame) -> list[Estimate]:
        return list(truths_of(frame))

    @classmethod
    def chance(cls, unit: str, seed: int) -> PoseChance:
        return PoseChance(cls, unit, seed)

    def collect(self, found: dict[str, Any], key: str, prediction: Sequence[Estimate]) -> None:
        sure = self.box_scores.get(key, 1.0)
        weighted = [replace(estimate, score=sure * estimate.score) for estimate in prediction]
        found.setdefault(key.rpartition(" object ")[0], []).extend(weighted)

    def write(self, found: Mapping[str, list[Estimate]], split: str, file: Path) -> FramePredictor:
        """Write what the BOP toolkit takes: the data set's own numbers, else 0 and the frames' in order."""
        names = Names(self.data.source, split if split in self.data.source.splits else "train")
        lines = []
        for number, (key, estimates) in enumerate(sorted(found.items())):
            named = names.of_key(key)
            known = str(named["image_id"])  # a frame that has no number of its own is told by its key
            image = int(known) if names.of_frames and known.isdecimal() else number
            for e in estimates:
                obj_id = names.numbers[e.class_id] if names.numbers else e.class_id + 1
                scene = int(str(named.get("scene_id", 0)))
                lines.append(PoseEstimate(scene, image, obj_id, e.score, e.T_cam_obj))
        write_results(file, lines)
        return predictor_of_keys(found)

    def deployed(self, model: nn.Module) -> Deployed:
        method_of(model, "read", "a dense pose network, such as model=pose_dense")
        return deployed(model)

    def output(self, names: Naming) -> Output:
        return PoseOutput(names)

    def draw(self, frame: Frame, predicted: Sequence[Estimate]) -> Image:
        if frame.K is None:
            raise InputError("no camera matrix to draw poses with", where=frame.key)
        return drawn.poses(frame.image, frame.K, [self._shown(e, frame) for e in predicted])

    def _shown(self, e: Estimate, frame: Frame) -> drawn.DrawnPose:
        """An estimate as it is drawn: with its model's outline, where the source has models."""
        source, T, text = self.data.source, e.T_cam_obj, f"{self.data.classes[e.class_id]} {e.score:.2f}"
        if not source.has_models:
            return drawn.DrawnPose(T, e.class_id, text, AXIS)
        axis, silhouette = float(source.mesh(e.class_id).extents.max()) / 2, None
        if T[2, 3] > axis:  # else it reaches behind the camera
            assert frame.K is not None
            size = frame.image.shape[0], frame.image.shape[1]
            silhouette = self._depth(e.class_id, T, frame.K, size) > 0
        return drawn.DrawnPose(T, e.class_id, text, axis, silhouette)

    @functools.cached_property
    def _depth(self) -> ObjectDepth:
        return ObjectDepth(self.data.source)

    @classmethod
    def own_blocks(cls, results: Mapping[str, Any], drawings: Mapping[str, Drawing]) -> Sequence[Block]:
        if not results.get("errors"):  # of an earlier version
            return ()
        context = {"errors": results["errors"], "drawings": list(drawings.values())}
        return [Block("errors", "Rotation and translation apart", "pose_errors", context)]

    @classmethod
    def predictions_file(cls, split: str) -> str:
        return f"predictions_{split}.csv"

    @classmethod
    def scores_from(cls, arrays: Mapping[str, Any]) -> Scores:
        bounded = np.arange(len(METRICS)) < BOUNDED
        if len(arrays["counts"]) == EARLIER_METRICS:
            counts = np.pad(arrays["counts"], (0, len(METRICS) - EARLIER_METRICS), mode="edge")
            arrays = {"sums": pose_matching.with_bins(arrays["sums"]), "counts": counts}
        return SummedScores.of_arrays(arrays, METRICS, pose_matching.metrics_of_sums, bounded)


@dataclass(frozen=True, eq=False)
class Decoded(Estimate):
    """An estimate, and what other decodes make of the same outputs."""

    also: Mapping[str, Estimate] = field(default_factory=dict)


def predictor_of_keys(found: Mapping[str, list[Estimate]]) -> FramePredictor:
    """What is found of each frame, by its key."""
    return lambda _, frame: found.get(frame.key, [])


def _frame_of(samples: Any, index: int) -> Frame:
    """The frame that a sample was cut from, with this one object."""
    height, width = samples.sizes[index].tolist()
    visible = float(samples.visible[index])
    instance = Instance(
        int(samples.labels[index]),
        np.zeros(4),
        T_cam_obj=samples.T_cam_obj[index].numpy(),
        visible_fraction=None if np.isnan(visible) else visible,
    )
    unit = samples.group_names[int(samples.groups[index])]
    image = np.empty((height, width, 3), np.uint8)
    return Frame(image, (instance,), "", samples.keys[index], unit, samples.K[index].numpy())
