"""Boxes and masks evaluated: COCO's metrics with intervals by resampling images or scenes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.data.frame import Frame
from deeprob.data.predictions.files import Box
from deeprob.data.readers.coco import decode_mask
from deeprob.errors import InputError
from deeprob.metrics import detection_operating, detection_resampling
from deeprob.metrics.detection import METRICS, Detection, Ranked
from deeprob.metrics.detection_matches import Matches
from deeprob.metrics.entries import entry
from deeprob.metrics.scores import Evaluation, units_of
from deeprob.metrics.statistics import Difference, Floats, Intervals, bias_corrected, spread_of
from deeprob.page import drawing
from deeprob.page import overlays as pictures
from deeprob.tasks.detection import analysis
from deeprob.tasks.detection.pictures import worst_frames
from deeprob.tasks.detection.slices import SLICED, recall_slices

RANKED = tuple(field.name for field in fields(Ranked))
PER_CLASS = ("class_ap", "class_ap50")
BOXES = {
    "visible": "around what is visible; BOP's own 2-D detection task takes data.source.boxes=amodal",
    "amodal": "amodal: around the whole object, also where others hide it",
}
MOST_CLASSES = 12  # curves in one figure
RESAMPLES = 500  # each ranks every detection again
CROWDS = (
    "A crowd region is no object to be found. A detection of its class that finds no object is neither right "
    "nor wrong where the share of it inside the region reaches the IoU threshold."
)


@dataclass(frozen=True, eq=False)
class RankedScores:
    """COCO's metrics of ranked detections. value: (7,), by pycocotools; units: int64 (I,) of each image."""

    ranked: list[list[Any]]
    value: Floats
    units: NDArray[np.int64]
    counts: tuple[int, ...]
    names: tuple[str, ...] = METRICS
    method: str = "bias-corrected percentile bootstrap over independent units"

    @property
    def num_units(self) -> int:
        return len(np.unique(self.units))

    def intervals(self, *, samples: int, seed: int) -> Intervals:
        """Bias-corrected percentile intervals; NaN for fewer than two units, or where no resample differs."""
        if self.units.max(initial=0) < 1 or not self.ranked:
            unknown = np.full_like(self.value, np.nan)
            return Intervals(self.value, unknown, unknown)
        weights = self._drawn(samples, seed)
        drawn = detection_resampling.metrics([(self.ranked, weights)], weights)
        return Intervals(self.value, *spread_of(self.value, drawn))

    def difference(self, other: RankedScores, *, samples: int, seed: int) -> Difference:
        """Subtract `other`: interval by resampling both together, p-value by exchanging them in units."""
        value = self.value - other.value
        if self.units.max(initial=0) < 1 or not self.ranked:
            unknown = np.full_like(value, np.nan)
            return Difference(value, unknown, unknown, unknown, unknown)
        weights = self._drawn(samples, seed)
        drawn = [detection_resampling.metrics([(of.ranked, weights)], weights) for of in (self, other)]
        low, high = bias_corrected(value, drawn[0] - drawn[1])
        rng = np.random.default_rng([seed, 1])
        kept = rng.integers(2, size=(samples, self.units.max() + 1))[:, self.units].astype(np.float64)
        ones = np.ones_like(kept)
        exchanged = [
            detection_resampling.metrics([(self.ranked, mine), (other.ranked, 1 - mine)], ones)
            for mine in (kept, 1 - kept)
        ]
        farther = (np.abs(exchanged[0] - exchanged[1]) >= np.abs(value) - 1e-12).sum(axis=0)
        p_value = np.where(np.isfinite(value), (1 + farther) / (1 + samples), np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            effect_size = np.where(value == 0, 0.0, value / (drawn[0] - drawn[1]).std(axis=0))
        return Difference(value, low, high, p_value, effect_size)

    def arrays(self) -> dict[str, NDArray[Any]]:
        parts = {
            f"{size}.{c}.{name}": np.asarray(getattr(of_class, name))
            for size, of_size in enumerate(self.ranked)
            for c, of_class in enumerate(of_size)
            for name in RANKED
        }
        shape = [len(self.ranked), len(self.ranked[0]) if self.ranked else 0]
        fixed = {"value": self.value, "units": self.units, "counts": np.array(self.counts)}
        return {"shape": np.array(shape), **fixed, **parts}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Any]) -> RankedScores:
        """The scores whose `arrays` these are. Raises KeyError where one is missing."""
        sizes, classes = arrays["shape"].tolist()
        ranked = [
            [Ranked(*(arrays[f"{size}.{c}.{name}"] for name in RANKED)) for c in range(classes)]
            for size in range(sizes)
        ]
        return cls(ranked, arrays["value"], arrays["units"], tuple(arrays["counts"].tolist()))

    def resampled(self, samples: int, seed: int) -> Floats:
        weights = self._drawn(min(samples, RESAMPLES), seed)
        return detection_resampling.metrics([(self.ranked, weights)], weights)

    def _drawn(self, samples: int, seed: int) -> Floats:
        """How often each image is drawn, float64 (samples, I)."""
        rng, num_units = np.random.default_rng(seed), int(self.units.max()) + 1
        return rng.multinomial(num_units, np.full(num_units, 1 / num_units), size=samples)[
            :, self.units
        ].astype(np.float64)


@dataclass
class BoxMeter:
    """Collects the predictions for frames. masks: compare masks in place of boxes.

    convention: whether the true boxes are around what is `visible`, or `amodal`; empty: not known.
    """

    classes: Sequence[str]
    unit: str
    masks: bool = False
    convention: str = ""

    def __post_init__(self) -> None:
        self._stream = Detection(self.classes, self.masks)
        self._units: list[str] = []
        self._keys: list[str] = []
        self._indices: list[int] = []  # of the frames in their split
        self._groups: list[str] = []
        self._sizes: list[tuple[int, ...]] = []
        self._crowds = 0
        self._counts = np.zeros(len(self.classes), np.int64)

    def add(self, index: int, frame: Frame, found: Sequence[Box]) -> None:
        """Add one frame. Raises InputError where masks are compared and there are none."""
        marked = (*frame.instances, *frame.crowds)
        crowd = np.arange(len(marked)) >= len(frame.instances)
        true = np.array([i.box_xyxy for i in marked], np.float64).reshape(-1, 4)
        true_ids = np.array([i.class_id for i in marked], np.int64)
        masks = true_masks = None
        if self.masks:
            if any(i.mask is None for i in marked):
                raise InputError(
                    "an object has no mask",
                    where=frame.key,
                    expected="a data set with masks",
                )
            true_masks = [i.mask for i in marked if i.mask is not None]
            size = (frame.image.shape[0], frame.image.shape[1])
            masks = [_mask(box, size) for box in found]
        ids = np.array([box.class_id for box in found], np.int64)
        boxes = np.array([box.box_xyxy for box in found], np.float64).reshape(-1, 4)
        scores = np.array([b.score for b in found])
        areas = np.array([i.size_in_pixels for i in marked], np.float64)
        self._stream.update(boxes, scores, ids, true, true_ids, masks, true_masks, crowd, areas)
        self._counts += np.bincount(true_ids[~crowd], minlength=len(self._counts))
        self._crowds += int(crowd.sum())
        self._units.append(frame.group if self.unit == "group" else frame.key)
        self._keys.append(frame.key)
        self._indices.append(index)
        self._groups.append(frame.group)
        self._sizes.append(frame.image.shape[:2])

    def update(self, predictions: Sequence[Sequence[Box]], truths: Sequence[Frame]) -> None:
        """Add some frames."""
        for index, (found, frame) in enumerate(zip(predictions, truths, strict=True)):
            self.add(index, frame, found)

    def merge(self, other: BoxMeter) -> None:
        """Add the frames of another process."""
        self._stream.merge(other._stream)
        self._counts += other._counts
        self._units += other._units
        self._crowds += other._crowds
        self._keys += other._keys
        self._indices += other._indices
        self._groups += other._groups
        self._sizes += other._sizes

    def scores(self) -> RankedScores:
        """COCO's metrics over independent units."""
        value = np.array(list(self._stream.compute().values()))
        counts = (int(self._counts.sum()),) * len(METRICS)
        return RankedScores(self._stream.ranked(), value, units_of(self._units), counts)

    def evaluation(self, *, samples: int, seed: int, frames: Any, answer: Any) -> Evaluation:
        """All numbers. frames: of the split; answer: what was predicted for each, to draw the worst."""
        matches = self._stream.matches()
        if not self._counts.any() or matches is None:
            raise InputError("no object in any image", expected="a split with labels")
        scores, chosen = self.scores(), {"samples": min(samples, RESAMPLES), "seed": seed}
        best = detection_operating.curve_of(matches).best_f1_score()
        more, drawings = self._more(matches, scores, best, **chosen)
        sizes = np.array(self._sizes, np.int64)
        sliced = recall_slices(matches, best, sizes, self._groups, scores.units, **chosen)

        def frame_of(image: int) -> Frame:
            frame: Frame = frames[self._indices[image]]
            return frame

        def outlined(image: int, frame: Frame) -> NDArray[np.uint8]:
            said = [box for box in answer(self._indices[image], frame) if box.score >= best]
            return self._outlined(image, frame, said)

        return Evaluation(
            scores,
            self._per_class(scores, **chosen),
            sliced,
            SLICED,
            {
                "precision_recall": (
                    self._curves(self.classes),
                    "Precision over recall at an IoU of 0.5, with the average precision of each class.",
                ),
                **drawings,
            },
            worst_frames(matches, best, self.classes, frame_of, outlined if self.masks else None),
            self._notes(),
            more,
            most_samples=RESAMPLES,
        )

    def _more(
        self, matches: Matches, scores: RankedScores, best: float, *, samples: int, seed: int
    ) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
        """What results.json holds beside the metrics, and its drawings."""
        chosen = {"samples": samples, "seed": seed}
        several = scores.num_units > 1
        weights = scores._drawn(samples, seed) if several else np.zeros((0, len(scores.units)))
        more: dict[str, Any] = {
            "error_kinds": analysis.error_kinds(matches, len(self.classes), weights, best),
            "operating_points": analysis.operating_points(matches, self.classes, scores.units, **chosen),
        }
        drawings = analysis.operating_curves(matches, self.classes, best) if matches.hit.any() else {}
        calibrated = analysis.calibration(matches, scores.units, **chosen)
        if calibrated is not None:
            more["calibration"], drawings["reliability"] = calibrated
        return more, drawings

    def _notes(self) -> list[str]:
        """What is counted, and how."""
        known = bool(self.convention) and not self.masks
        boxes = [f"Boxes are {BOXES[self.convention]}."] if known else []
        return [*([CROWDS] if self._crowds else []), *boxes]

    def _per_class(self, scores: RankedScores, *, samples: int, seed: int) -> dict[str, dict[str, Any]]:
        weights = (
            scores._drawn(samples, seed)
            if scores.units.max(initial=0) > 0
            else np.zeros((0, len(scores.units)))
        )
        ones = np.ones((1, len(scores.units)))
        found: dict[str, dict[str, Any]] = {}
        for c, name in enumerate(self.classes):
            if not self._counts[c]:
                continue
            of_class = scores.ranked[0][c]
            value, drawn = (detection_resampling.curves([(of_class, w)], w)[0] for w in (ones, weights))
            columns = [np.stack([ap.mean(axis=1), ap[:, 0]], axis=1) for ap in (value, drawn)]
            low, high = spread_of(columns[0][0], columns[1])
            n = int(self._counts[c])
            found[name] = {"n": n} | {
                m: entry(columns[0][0, i], low[i], high[i], n) for i, m in enumerate(PER_CLASS)
            }
        return found

    def _curves(self, classes: Sequence[str]) -> str:
        """Precision over recall of the classes that do worst, each with its AP50."""
        precision, recalls = self._stream.precision_recall(0.5), detection_resampling.RECALLS
        known = [c for c in range(len(classes)) if np.isfinite(precision[c]).all()]
        order = sorted(known, key=lambda c: precision[c].mean())
        figure, axes = drawing.new_figure(height=3.4)
        for c in reversed(order):
            worst = order.index(c) < len(drawing.SERIES)
            axes.plot(
                *(recalls, precision[c]),
                color=drawing.SERIES[order.index(c)] if worst else drawing.MUTED,
                linewidth=1.6 if worst else 0.8,
                alpha=1 if worst else 0.45,
                label=f"{classes[c]} {precision[c].mean():.2f}" if worst else None,
            )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        drawing.add_legend(axes, columns=2)
        told = "; ".join(f"{classes[c]} {precision[c].mean():.3f}" for c in order[:MOST_CLASSES])
        return drawing.to_svg(
            figure, "precision-recall", f"Precision over recall at IoU 0.5; average precision: {told}."
        )

    def _outlined(self, index: int, frame: Frame, found: Sequence[Box]) -> NDArray[np.uint8]:
        """The frame's image with the true masks and those found."""
        true = [i.mask for i in frame.instances if i.mask is not None]
        none = np.zeros(frame.image.shape[:2], bool)
        drawn = pictures.outlines(frame.image, [np.logical_or.reduce(true)] if true else [])
        for box in found:
            drawn = pictures.outlines(drawn, [none, _mask(box, drawn.shape[:2])])
        return drawn


def truths_of(frame: Frame, masks: bool) -> Iterable[Box]:
    """The true boxes of a frame, as detections."""
    for i in frame.instances:
        yield Box(i.class_id, 1.0, i.box_xyxy, i.mask if masks else None)


def _mask(box: Box, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """A detection's mask, bool (H, W)."""
    if isinstance(box.segmentation, np.ndarray):
        return box.segmentation
    return decode_mask(box.segmentation, (size[0], size[1]), box.where)
