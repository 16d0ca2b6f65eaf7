"""What a classical model has learned, to look at: weights as pictures, and the accuracy behind a chosen k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deeprob.page import drawing
from deeprob.runs import Run

MOST_TEMPLATES = 48


def template_pictures(model: nn.Module) -> NDArray[np.uint8]:
    """What `model.templates()` gives as images uint8 (T, H, W, 3): grey where a weight is 0.

    Each picture is scaled by its own largest weight. Of more than 48, those of the longest weights are kept.
    Of more than three channels the first three are shown, the colours. Without templates, or where they have
    less channels, there are none: (0, 1, 1, 3).
    """
    make = getattr(model, "templates", None)
    weights = None if make is None else make()
    if weights is None or weights.shape[1] < 3:
        return np.zeros((0, 1, 1, 3), np.uint8)
    weights = weights[:, :3]
    strongest = weights.flatten(1).norm(dim=1).argsort(descending=True, stable=True)[:MOST_TEMPLATES]
    weights = weights[strongest.sort().values]
    largest = weights.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
    grey = 127.5 + 127.5 * weights / largest
    return np.asarray(grey.round().byte().permute(0, 2, 3, 1).cpu().numpy())


def template_names(count: int, classes: Sequence[str]) -> list[str]:
    """What each template belongs to: its class, or a unit between where they are not as many as classes."""
    return list(classes) if count == len(classes) else [f"unit {i + 1}" for i in range(count)]


def read_cross_validation(run: Run) -> Mapping[str, Any] | None:
    """What training.json holds of the choice of k: {"k": (K), "accuracy": (K, folds)}; None without one."""
    found: Mapping[str, Any] | None = run.read_training().get("cross_validation")
    return found


def cross_validation_chart(candidates: Sequence[int], accuracy: Sequence[Sequence[float]]) -> str:
    """Accuracy over k: every fold, their mean, and their standard deviation as a bar."""
    figure, axes = drawing.new_figure()
    values = np.asarray(accuracy)
    mean, spread = values.mean(axis=1), values.std(axis=1, ddof=1)
    for fold in values.T:
        axes.plot(candidates, fold, "o", color=drawing.MUTED, markersize=3)
    axes.errorbar(candidates, mean, spread, color=drawing.SERIES[0], linewidth=1.6, capsize=3, label="mean")
    best = int(mean.argmax())
    axes.plot(candidates[best], mean[best], "o", color=drawing.SERIES[1], label="chosen", zorder=3)
    axes.set_xscale("log")
    axes.set_xticks(list(candidates), [str(k) for k in candidates], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("k")
    axes.set_ylabel("accuracy, fold held out")
    drawing.add_legend(axes)
    rows = "; ".join(f"k {k}: {m:.3f} ± {s:.3f}" for k, m, s in zip(candidates, mean, spread, strict=True))
    return drawing.to_svg(figure, "cross-validation", f"Accuracy over k, {values.shape[1]} folds: {rows}.")
