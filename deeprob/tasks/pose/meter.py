"""Poses evaluated: every error of every instance, by object, visibility and distance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from deeprob.data.frame import Frame
from deeprob.data.predictions.files import Pose
from deeprob.errors import InputError
from deeprob.metrics import pose, pose_matching
from deeprob.metrics.entries import class_entries, entry
from deeprob.metrics.pose import Floats
from deeprob.metrics.pose_matching import BOUNDED, METRICS, PARTS, Errors, ObjectShape
from deeprob.metrics.scores import Evaluation, SummedScores, units_of
from deeprob.metrics.slices import LEAST, quarters
from deeprob.metrics.statistics import bootstrap, sums_by_unit
from deeprob.page.overlays import NUM_WORST, outlines, picture
from deeprob.tasks.pose import analysis
from deeprob.tasks.pose.objects import ObjectDepth

SLICED = "add_or_add_s_recall"


@dataclass(frozen=True)
class _Instance:
    """One target: where it is, what it adds, and its estimate if it has one."""

    unit: str
    frame: int
    class_id: int
    T_true: Floats
    T_est: Floats | None
    row: Floats
    visible: float | None
    score: float


@dataclass
class PoseMeter:
    """Collects the poses estimated for frames.

    unit: `frame` or `group` is independent. most_points: of a model, evenly chosen, for numbers in passing; 0
    takes all, as the field does.
    """

    source: Any
    unit: str
    most_points: int = 0
    _instances: list[_Instance] = field(default_factory=list)
    _beyond: int = 0
    _blind: int = 0
    _shapes: dict[int, ObjectShape] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._least = self.source.least_visible
        self._drawn = ObjectDepth(self.source)

    def add(self, index: int, frame: Frame, estimates: Sequence[Pose]) -> None:
        """Add one frame. Raises InputError where it has no poses or no camera."""
        if frame.K is None or any(i.T_cam_obj is None for i in frame.instances):
            raise InputError(
                "an object has no pose, or the frame no camera", where=f"{self.source.name} {frame.key}"
            )
        unit = frame.group if self.unit == "group" else frame.key
        targets = [
            i for i in frame.instances if i.visible_fraction is None or i.visible_fraction >= self._least
        ]
        self._blind += len(frame.instances) - len(targets)
        used = 0
        for class_id in sorted({i.class_id for i in targets}):
            truths = [i for i in targets if i.class_id == class_id]
            found = [e for e in estimates if e.class_id == class_id][: len(truths)]
            used += len(found)
            T_true = [i.T_cam_obj for i in truths if i.T_cam_obj is not None]
            T_est = [e.T_cam_obj for e in found]
            errors = self._errors(class_id, T_est, T_true, frame)
            rows, owner = pose_matching.instance_rows(T_est, T_true, self._shape(class_id), errors)
            for g, instance in enumerate(truths):
                e = owner[g]
                self._instances.append(
                    _Instance(
                        *(unit, index, class_id, T_true[g], T_est[e] if e >= 0 else None, rows[g]),
                        *(instance.visible_fraction, found[e].score if e >= 0 else 0.0),
                    )
                )
        self._beyond += len(estimates) - used

    def update(self, predictions: Sequence[Sequence[Pose]], truths: Sequence[Frame]) -> None:
        """Add some frames."""
        for index, (estimates, frame) in enumerate(zip(predictions, truths, strict=True)):
            self.add(index, frame, estimates)

    def merge(self, other: PoseMeter) -> None:
        """Add the frames of another process."""
        self._instances += other._instances
        self._beyond += other._beyond
        self._blind += other._blind

    def scores(self) -> SummedScores:
        """Every metric of deeprob.metrics.pose_matching. Raises InputError without a target."""
        found, classes = self._instances, self.source.classes
        if not found:
            raise InputError(f"no object is {self._least:.0%} visible in any image", where=self.source.name)
        class_ids = np.array([i.class_id for i in found])
        rows, units = np.stack([i.row for i in found]), units_of([i.unit for i in found])
        blocks = np.zeros((len(found), len(classes), len(PARTS)))
        blocks[np.arange(len(found)), class_ids] = rows
        sums = sums_by_unit(scipy.sparse.csr_array(blocks.reshape(len(found), -1)), units)
        bounded = np.arange(len(METRICS)) < BOUNDED
        estimated = sum(i.T_est is not None for i in found)
        numbers = (len(found),) * BOUNDED + (estimated,) * (len(METRICS) - BOUNDED)
        return SummedScores(METRICS, sums, pose_matching.metrics_of_sums, numbers, bounded)

    def evaluation(self, *, samples: int, seed: int, frames: Any, answer: Any = None) -> Evaluation:
        """All numbers. frames: of the split, to draw the worst. Raises InputError without a target."""
        scores, classes = self.scores(), self.source.classes
        class_ids = np.array([i.class_id for i in self._instances])
        rows = np.stack([i.row for i in self._instances])
        units, bounded = units_of([i.unit for i in self._instances]), np.arange(len(METRICS)) < BOUNDED
        of_classes = bootstrap(
            scores.sums,
            pose_matching.class_metrics_of_sums,
            samples=samples,
            seed=seed,
            proportions=np.tile(bounded, len(classes)),
        )
        counts = np.bincount(class_ids, minlength=len(classes))
        return Evaluation(
            scores,
            class_entries(of_classes, classes, METRICS, counts),
            self._slices(rows, units, samples=samples, seed=seed),
            SLICED,
            analysis.curves(rows),
            self._worst(frames),
            self._notes(),
            {"errors": self._errors_apart(rows, class_ids)},
        )

    def _errors(self, class_id: int, estimates: list[Floats], truths: list[Floats], frame: Frame) -> Errors:
        shape, K = self._shape(class_id), frame.K
        assert K is not None
        mssd, mspd = (np.zeros((len(estimates), len(truths))) for _ in range(2))
        has_depth = frame.depth_m is not None
        vsd = np.ones((len(estimates), len(truths), len(pose.BOP_SHARES))) if has_depth else None
        size = (frame.image.shape[0], frame.image.shape[1])
        pixels = 100 * size[1] / 640
        drawn = [self._drawn(class_id, T, K, size) for T in truths] if has_depth else []
        for e, T_est in enumerate(estimates):
            depth = self._drawn(class_id, T_est, K, size) if has_depth else None
            for g, T_true in enumerate(truths):
                mssd[e, g] = pose.mssd(T_est, T_true, shape.hull, shape.symmetries) / shape.diameter
                mspd[e, g] = pose.mspd(T_est, T_true, shape.points, K, shape.symmetries) / pixels
                if vsd is not None and depth is not None and frame.depth_m is not None:
                    vsd[e, g] = pose.vsd(depth, drawn[g], frame.depth_m, K, shape.diameter)
        return Errors(mssd, mspd, vsd)

    def _shape(self, class_id: int) -> ObjectShape:
        if class_id not in self._shapes:
            symmetries = self.source.symmetries(class_id).transforms(pose_matching.AXIS_STEPS)
            points = self.source.mesh(class_id).vertices
            step = max(1, len(points) // self.most_points) if self.most_points else 1
            self._shapes[class_id] = ObjectShape(points[::step], symmetries)
        return self._shapes[class_id]

    def _slices(
        self, rows: Floats, units: NDArray[np.int64], *, samples: int, seed: int
    ) -> dict[str, list[dict[str, Any]]]:
        """The metric SLICED by quarters of visible fraction and distance."""
        column = METRICS.index(SLICED)

        def sliced(total: Floats) -> Floats:
            return pose_matching.metrics_of_sums(total)[..., column : column + 1]

        found: dict[str, list[dict[str, Any]]] = {}
        for kind, values in self._circumstances().items():
            for label, inside in quarters(values):
                if inside.sum() >= LEAST:
                    sums = sums_by_unit(scipy.sparse.csr_array(rows[inside]), units[inside])
                    of = bootstrap(sums, sliced, samples=samples, seed=seed)
                    value = entry(float(of.value[0]), float(of.low[0]), float(of.high[0]), int(inside.sum()))
                    found.setdefault(kind, []).append({"label": label, "units": int(sums.shape[0]), **value})
        return {kind: cut for kind, cut in found.items() if len(cut) > 1}

    def _circumstances(self) -> dict[str, Floats]:
        """What errors may depend on, (N,) each."""
        visible = [np.nan if i.visible is None else i.visible for i in self._instances]
        distance = [float(np.linalg.norm(i.T_true[:3, 3])) for i in self._instances]
        return {"visible_fraction": np.array(visible), "distance_m": np.array(distance)}

    def _errors_apart(self, rows: Floats, class_ids: NDArray[np.int64]) -> dict[str, Any]:
        """Quartiles of the rotation and translation errors by object, visible fraction and distance."""
        names = self.source.classes
        parts = {"object": [(names[c], class_ids == c) for c in np.unique(class_ids)]}
        parts |= {kind: list(quarters(values)) for kind, values in self._circumstances().items()}
        return analysis.errors_apart(rows, parts)

    def _worst(self, frames: Any) -> list[dict[str, Any]]:
        """The instances that ADD(-S) finds worst, true outline and estimated, missed ones last."""
        worth = PARTS.index("add_or_add_s")
        order = sorted(self._instances, key=lambda i: (i.T_est is None, i.row[worth], -i.score))
        shown = []
        for i in order[:NUM_WORST]:
            frame, shape = frames[i.frame], self._shape(i.class_id)
            poses = [i.T_true] if i.T_est is None else [i.T_true, i.T_est]
            silhouettes = [self._drawn(i.class_id, T, frame.K, frame.image.shape[:2]) > 0 for T in poses]
            said = "no estimate"
            if i.T_est is not None:
                error = (pose.add_s if len(shape.symmetries) > 1 else pose.add)(
                    i.T_est, i.T_true, shape.points
                )
                said = f"{100 * error:.1f} cm"
            shown.append(
                {
                    "image": picture(outlines(frame.image, silhouettes), silhouettes),
                    "said": said,
                    "of": self.source.classes[i.class_id],
                    "key": frame.key,
                    "alt": f"{self.source.classes[i.class_id]} in {frame.key}, {said}",
                }
            )
        return shown

    def _notes(self) -> list[str]:
        notes = []
        if self._blind:
            notes.append(
                f"{self._blind:,} instances of which less than {self._least:.0%} is visible are no targets."
            )
        if self._beyond:
            notes.append(
                f"{self._beyond:,} estimates are of objects that are not there, or more than there are "
                "instances, and count nowhere: as in BOP's localisation task, a method is told what an image "
                "holds."
            )
        column = PARTS.index("n_with_depth")
        if not any(i.row[column] for i in self._instances):
            notes.append("Without depth images there is no VSD, and no average of the three recalls.")
        return notes


def truths_of(frame: Frame) -> Iterable[Pose]:
    """The true poses of a frame, as estimates."""
    for instance in frame.instances:
        if instance.T_cam_obj is not None:
            yield Pose(instance.class_id, 1.0, instance.T_cam_obj)
