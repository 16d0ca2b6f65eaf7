"""What is said of detections beside their metrics: kinds of errors, operating points, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from deeprob.metrics import classification, detection_errors, detection_operating
from deeprob.metrics.detection_errors import KINDS
from deeprob.metrics.detection_matches import Floats, Matches
from deeprob.metrics.detection_operating import METRICS, Curve
from deeprob.metrics.entries import as_entry, entry
from deeprob.metrics.statistics import bootstrap, spread_of
from deeprob.page import drawing, figures

RECALL = 0.9
ALL = "all classes"
MOST_CLASSES = len(drawing.SERIES)  # lines of their own in a figure

Drawing = tuple[str, str]


def error_kinds(
    matches: Matches, num_classes: int, weights: Floats, threshold: float
) -> dict[str, dict[str, Any]]:
    """Each of KINDS: how many, how many at a score, and the AP50 it costs. weights: of resamples, (B, I)."""
    kinds = detection_errors.kinds_of(matches)
    ones = np.ones((1, matches.num_images))
    cost = detection_errors.costs(matches, num_classes, ones)[1][0]
    low, high = spread_of(cost, detection_errors.costs(matches, num_classes, weights)[1])
    missed = int(detection_errors.missed(matches, kinds).sum())
    unfound = int((matches.object_scores < threshold).sum())
    found = {}
    for i, name in enumerate(KINDS):
        of_kind = kinds == i
        count = missed if name == "missed" else int(of_kind.sum())
        certain = unfound if name == "missed" else int((of_kind & (matches.scores >= threshold)).sum())
        found[name] = {"at_best_f1": certain, "ap50_cost": entry(cost[i], low[i], high[i], count)}
    return found


def operating_points(
    matches: Matches, classes: Sequence[str], units: NDArray[np.int64], *, samples: int, seed: int
) -> dict[str, Any]:
    """For all classes together and each that has objects: the best F1, RECALL reached, and the curve."""
    found = {}
    for c, name in ((None, ALL), *enumerate(classes)):
        if c is not None and not (matches.object_classes == c).any():
            continue
        curve = detection_operating.curve_of(matches, c)
        at = {"best_f1": curve.best_f1(), "recall_90": curve.at_recall(RECALL)}
        points = {
            point: None
            if i is None
            else _point(matches, units, float(curve.score[i]), c, samples=samples, seed=seed)
            for point, i in at.items()
        }
        highest = float(curve.recall[-1]) if len(curve.recall) else 0.0
        found[name] = {**points, "highest_recall": highest, "curve": detection_operating.thinned(curve)}
    return found


def _point(
    matches: Matches,
    units: NDArray[np.int64],
    threshold: float,
    class_id: int | None,
    *,
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """METRICS of detections with at least a score, with intervals; the score itself is taken as given."""
    sums = scipy.sparse.csr_array(
        detection_operating.sums_at(matches, units, np.array([threshold]), class_id)[0]
    )
    proportions = np.array([True, True, True, False])
    of = bootstrap(
        sums, detection_operating.metrics_of_sums, samples=samples, seed=seed, proportions=proportions
    )
    _, said, objects, images = np.asarray(sums.sum(axis=0)).astype(int).tolist()
    counts = (said, objects, objects, images)
    return {"score": threshold} | {name: as_entry(of, i, counts[i]) for i, name in enumerate(METRICS)}


def calibration(
    matches: Matches, units: NDArray[np.int64], *, samples: int, seed: int
) -> tuple[dict[str, Any], Drawing] | None:
    """The expected calibration error of scores with their reliability diagram; None where they are none."""
    sums = detection_operating.calibration_sums(matches, units)
    if sums is None:
        return None
    of = bootstrap(
        sums,
        detection_operating.expected_calibration_error,
        samples=samples,
        seed=seed,
        proportions=False,
    )
    count, score, precision = classification.reliability(np.asarray(sums.sum(axis=0)))
    known: dict[str, Any] = {"detection_calibration_error": as_entry(of, 0, int(count.sum()))}
    known |= {
        "bins": [
            {"n": int(n), "score": float(s), "precision": float(p)}
            for n, s, p in zip(count, score, precision, strict=True)
            if n
        ]
    }
    caption = "Share of detections that are right within bins of their score, and how many each bin holds."
    return known, (figures.reliability_diagram(count, score, precision), caption)


def operating_curves(matches: Matches, classes: Sequence[str], threshold: float) -> dict[str, Drawing]:
    """Precision, recall and F1 over the score; recall over false positives an image."""
    curve = detection_operating.curve_of(matches)
    figure, axes = drawing.new_figure()
    for i, name in enumerate(("precision", "recall", "f1")):
        label = "F1" if name == "f1" else name
        axes.plot(curve.score, getattr(curve, name), color=drawing.SERIES[i], linewidth=1.6, label=label)
    axes.axvline(threshold, color=drawing.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set(ylim=(0, 1.02), xlabel="score at least")
    drawing.add_legend(axes)
    at = int(np.searchsorted(-curve.score, -threshold, side="right")) - 1
    told = f"at a score of {threshold:.3f} the best F1, {curve.f1[at]:.3f}: precision "
    told += f"{curve.precision[at]:.3f}, recall {curve.recall[at]:.3f}"
    drawn = drawing.to_svg(figure, "operating", f"Precision, recall and F1 over the score; {told}.")
    text = "All classes together, of detections with at least a score. Dashed: the best F1."
    return {"operating": (drawn, text), "recall_over_false": _recall_over_false(matches, classes)}


def _recall_over_false(matches: Matches, classes: Sequence[str]) -> Drawing:
    figure, axes = drawing.new_figure()
    counts = np.bincount(matches.object_classes, minlength=len(classes))
    curves: list[tuple[str, Curve]] = [(ALL, detection_operating.curve_of(matches))]
    order = [int(c) for c in np.argsort(-counts, kind="stable") if counts[c]][: MOST_CLASSES - 1]
    curves += [(classes[c], detection_operating.curve_of(matches, c)) for c in order if len(order) > 1]
    least, told = 1 / max(matches.num_images, 1), []
    for i, (name, curve) in enumerate(curves):
        wrong = curve.false_positives_per_image
        axes.plot(wrong.clip(least), curve.recall, color=drawing.SERIES[i], linewidth=1.6, label=name)
        within = curve.recall[wrong <= 1]
        told.append(f"{name} {within.max(initial=0):.3f}")
    drawing.log_x(axes)
    axes.set(ylim=(0, 1.02), xlabel="false positives an image", ylabel="recall")
    drawing.add_legend(axes, columns=2)
    text = f"Recall over false positives an image; with at most one: {'; '.join(told)}."
    caption = "Recall over false positives an image, of the most frequent classes."
    return drawing.to_svg(figure, "recall-over-false", text), caption
