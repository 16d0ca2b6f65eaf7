"""What a report shows of pose errors beside the numbers: curves, and rotation and translation apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprob.metrics import pose
from deeprob.metrics.entries import finite
from deeprob.metrics.pose import Floats
from deeprob.metrics.pose_matching import PARTS
from deeprob.page import drawing

LARGEST_DEG = 60.0  # of the curves
QUARTILES = (0.25, 0.5, 0.75)


def curves(rows: Floats) -> dict[str, tuple[str, str]]:
    """Recall over thresholds of N instances, as (SVG, caption). rows: (N, len(PARTS)), what each adds."""
    thresholds = np.linspace(0, pose.MAX_AUC_M, 101, dtype=np.float64)
    degrees = np.linspace(0, LARGEST_DEG, 121, dtype=np.float64)
    add = {"ADD(-S)": _add_errors(rows, "add_or_add_s"), "ADD-S": _add_errors(rows, "add_s")}
    angle, distance = errors_of(rows)
    return {
        "recall": (
            _curves("recall", {n: 100 * e for n, e in add.items()}, 100 * thresholds, "threshold, cm"),
            "Share of instances whose ADD(-S) is below a threshold.",
        ),
        "rotation": (
            _curves("rotation", {"rotation": angle}, degrees, "threshold, degrees"),
            "Share of instances whose rotation error is below a threshold.",
        ),
        "translation": (
            _curves("translation", {"translation": distance}, 100 * thresholds, "threshold, cm"),
            "Share of instances whose translation error is below a threshold.",
        ),
    }


def errors_of(rows: Floats) -> tuple[Floats, Floats]:
    """Rotation errors (N,) in degrees and translation errors in cm; infinite without an estimate."""
    found = rows[:, PARTS.index("found")] > 0
    return (
        np.where(found, rows[:, PARTS.index("rotation_deg")], np.inf),
        np.where(found, 100 * rows[:, PARTS.index("translation_m")], np.inf),
    )


def errors_apart(
    rows: Floats, parts: Mapping[str, Sequence[tuple[str, NDArray[np.bool_]]]]
) -> dict[str, list[dict[str, Any]]]:
    """Quartiles of both errors in parts of the instances: kind -> [(name, which of N)], as a table has them.

    Of the instances with an estimate; n counts them.
    """
    angle, distance = errors_of(rows)
    found = np.isfinite(angle)
    return {
        kind: [
            {"label": label, "n": int((inside & found).sum())}
            | {
                name: [finite(v) for v in np.quantile(errors[inside & found], QUARTILES)]
                for name, errors in (("rotation_deg", angle), ("translation_cm", distance))
            }
            for label, inside in cut
            if (inside & found).any()
        ]
        for kind, cut in parts.items()
        if cut
    }


def _add_errors(rows: Floats, part: str) -> Floats:
    # a part is 1 - error / MAX_AUC_M, 0 for any error beyond
    worth = rows[:, PARTS.index(part)]
    return np.where(worth > 0, (1 - worth) * pose.MAX_AUC_M, np.inf)


def _curves(name: str, errors: Mapping[str, Floats], thresholds: Floats, label: str) -> str:
    figure, axes = drawing.new_figure()
    told = []
    for i, (series, values) in enumerate(errors.items()):
        recall = pose.recall(values, thresholds)
        axes.plot(thresholds, recall, color=drawing.SERIES[i], linewidth=1.6, label=series)
        fifth = len(thresholds) // 5
        told.append(
            f"{series} {recall[fifth]:.3f} at {thresholds[fifth]:g}, {recall[-1]:.3f} at {thresholds[-1]:g}"
        )
    axes.set(xlim=(0, thresholds[-1]), ylim=(0, 1.02), xlabel=label, ylabel="recall")
    if len(errors) > 1:
        drawing.add_legend(axes)
    return drawing.to_svg(figure, name, f"Recall over the {label}: {'; '.join(told)}.")
