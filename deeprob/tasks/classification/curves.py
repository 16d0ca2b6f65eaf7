"""ROC and precision-recall curves of every class in one figure each, those that rank worst in colour."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from deeprob.metrics.classification import Floats
from deeprob.metrics.ranking import Ranking
from deeprob.page import drawing
from deeprob.tasks.classification.predictions import Predictions

MOST_POINTS = 200  # of a drawn curve


def ranking_curves(predictions: Predictions, names: Collection[str] | None = None) -> dict[str, str]:
    """Draw `roc` and `precision_recall` as SVG, by their name; nothing where no class can be ranked.

    names: of the classes to draw; None: all.
    """
    probabilities, labels = predictions.probabilities, predictions.labels
    rankings = {
        name: Ranking(probabilities[:, c], labels == c)
        for c, name in enumerate(predictions.classes)
        if (names is None or name in names) and 0 < (labels == c).sum() < len(labels)
    }
    if not rankings:
        return {}
    areas = {name: ranking.areas() for name, ranking in rankings.items()}
    roc = {name: ranking.roc() for name, ranking in rankings.items()}
    pr = {name: ranking.precision_recall()[::-1] for name, ranking in rankings.items()}
    return {
        "roc": _draw(
            roc,
            {n: float(a[0]) for n, a in areas.items()},
            "false positive rate",
            "true positive rate",
            "AUC",
        ),
        "precision_recall": _draw(
            pr, {n: float(a[1]) for n, a in areas.items()}, "recall", "precision", "AP"
        ),
    }


def _draw(
    curves: dict[str, tuple[Floats, Floats]], areas: dict[str, float], x_label: str, y_label: str, area: str
) -> str:
    """All curves, those of the smallest areas in colour and named."""
    worst = sorted(areas, key=lambda name: areas[name])[: len(drawing.SERIES)]
    figure, axes = drawing.new_figure(height=3.4)
    for name in sorted(curves, key=lambda name: -areas[name]):  # the worst on top
        x, y = (_thinned(values) for values in curves[name])
        told = name in worst
        axes.plot(
            *(x, y),
            color=drawing.SERIES[worst.index(name)] if told else drawing.MUTED,
            linewidth=1.6 if told else 0.8,
            alpha=1 if told else 0.5,
            label=f"{name} {areas[name]:.3f}" if told else None,
        )
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    drawing.add_legend(axes, columns=2)
    listed = ", ".join(f"{name} {value:.4f}" for name, value in areas.items())
    return drawing.to_svg(
        figure, area.lower(), f"{y_label} over {x_label}, one class against the rest. {area}: {listed}."
    )


def _thinned(values: Floats) -> Floats:
    """As many points as a drawing can show."""
    kept = np.unique(np.linspace(0, len(values) - 1, MOST_POINTS).astype(int))
    return np.asarray(values[kept])
