"""What a sweep found, as a page: the best trial, which keys matter, every trial."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deeprob.config import options
from deeprob.page import drawing, pages
from deeprob.studies.sweep.space import overrides_of
from deeprob.studies.sweep.study import SharedStudy, folder_name, states
from deeprob.studies.sweep.trial import Plan
from deeprob.writing import write_text

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from rich.table import Table

LEAST_FOR_IMPORTANCE = 8  # complete trials; with fewer, importance is noise
TERMS = ("importance", "sweep_value", "pruned")


def write_report(planned: Plan, study: SharedStudy) -> Path:
    """Write report.html and plots/*.svg into the sweep's folder; returns the page's path."""
    trials, best = study.ended(), study.best
    complete = [t for t in trials if t.state.name == "COMPLETE"]
    shares = importance(study, complete)
    drawings = {
        "history": _history(planned, complete) if complete else "",
        "importance": _bars(shares) if shares else "",
    }
    pair = scatter_keys(planned)
    if pair is not None and complete:
        drawings["scatter"] = _scatter(planned, pair, complete)
    slices = {key: _slice(planned, key, complete) for key in planned.space if complete}
    named = {**drawings, **{f"slice-{key}": svg for key, svg in slices.items()}}
    drawing.write_drawings(planned.folder / "plots", named)
    context = {
        "planned": planned,
        "sweep": planned.cfg.sweep,
        "counts": states(trials),
        "num_trials": len(trials),
        "best": best,
        "best_overrides": overrides_of(best.params) if best else [],
        "best_file": planned.folder / f"{planned.name}_best.yaml",
        "drawings": drawings,
        "slices": slices,
        "rows": [_row(t) for t in trials],
        "command": f"deeprob sweep sweep={planned.name}" if planned.name in options("sweep") else None,
    }
    path = planned.folder / "report.html"
    write_text(path, pages.render("sweep.html.j2", TERMS, context))
    return path


def importance(study: SharedStudy, complete: list[FrozenTrial]) -> dict[str, float]:
    """Share of each key in what sets good trials apart, largest first; nothing where trials are too few.

    PED-ANOVA: Watanabe, Bansal, Hutter, PED-ANOVA: efficiently quantifying hyperparameter importance in
    arbitrary subspaces, IJCAI 2023.
    """
    import optuna

    if len(complete) < LEAST_FOR_IMPORTANCE or len({t.value for t in complete}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few trials in a region: told by leaving importance out
        found = optuna.importance.get_param_importances(
            study.optuna, evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
        )
    known = {key: value for key, value in found.items() if np.isfinite(value)}
    return dict(sorted(known.items(), key=lambda item: -item[1]))


def rich_table(study: SharedStudy, planned: Plan, most: int = 5) -> Table:
    """The best trials for a terminal."""
    from rich import box
    from rich.table import Table

    table = Table(title=f"best of sweep {planned.name}", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("trial", planned.metric, "settings"):
        table.add_column(column, justify="left" if column == "settings" else "right")
    sign = -1 if planned.mode == "max" else 1
    complete = [t for t in study.ended() if t.state.name == "COMPLETE"]
    for trial in sorted(complete, key=lambda t: sign * float(t.value or 0))[:most]:
        table.add_row(str(trial.number), f"{trial.value:.4f}", " ".join(overrides_of(trial.params)))
    counted = ", ".join(f"{count} {state}" for state, count in states(study.ended()).items())
    table.caption = f"trials: {counted or 'none'}"
    return table


def _row(trial: FrozenTrial) -> dict[str, Any]:
    folds = trial.user_attrs.get("folds", [])
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value if trial.state.name == "COMPLETE" else None,
        "std": float(np.std(folds, ddof=1)) if len(folds) > 1 else None,
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "params": trial.params,
        "folder": folder_name(trial),
        "error": trial.user_attrs.get("error", ""),
    }


def _history(planned: Plan, complete: list[FrozenTrial]) -> str:
    """Value over trial number, and the best so far."""
    numbers, values = [t.number for t in complete], [float(t.value or 0) for t in complete]
    running = (np.maximum if planned.mode == "max" else np.minimum).accumulate(values)
    figure, axes = drawing.new_figure()
    axes.plot(numbers, values, "o", color=drawing.MUTED, markersize=4, label="trial")
    axes.step(numbers, running, where="post", color=drawing.SERIES[0], linewidth=1.6, label="best so far")
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("trial")
    axes.set_ylabel(planned.metric)
    drawing.add_legend(axes)
    text = f"{planned.metric} of {len(values)} complete trials; the best reached {running[-1]:.4f}."
    return drawing.to_svg(figure, "history", text)


def _bars(shares: dict[str, float]) -> str:
    figure, axes = drawing.new_figure(height=0.75 + 0.32 * len(shares))
    axes.barh(range(len(shares)), list(shares.values()), color=drawing.SERIES[0], height=0.6)
    axes.set_yticks(range(len(shares)), [_short(key) for key in shares])
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_xlabel("importance")
    axes.grid(False, axis="y")
    told = ", ".join(f"{key} {share:.2f}" for key, share in shares.items())
    return drawing.to_svg(figure, "importance", f"Importance of each key: {told}.")


def _slice(planned: Plan, key: str, complete: list[FrozenTrial]) -> str:
    """Value over one key, a dot a trial."""
    points = [(t.params[key], float(t.value or 0)) for t in complete if key in t.params]
    figure, axes = drawing.new_figure(height=2.5)
    distribution = planned.space[key]
    choices = getattr(distribution, "choices", None)
    if choices is None:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        axes.plot(xs, ys, "o", color=drawing.SERIES[0], markersize=4, clip_on=False)
        low, high = (float(getattr(distribution, end)) for end in ("low", "high"))
        if low < high:
            axes.set_xlim(low, high)
        axes.locator_params(axis="x", nbins=6)
        if getattr(distribution, "log", False):
            drawing.log_x(axes)
    else:
        at = {choice: i for i, choice in enumerate(choices)}
        axes.plot(
            [at[x] for x, _ in points], [y for _, y in points], "o", color=drawing.SERIES[0], markersize=4
        )
        axes.set_xticks(range(len(choices)), [str(choice) for choice in choices])
        axes.set_xlim(-0.5, len(choices) - 0.5)
    axes.set_xlabel(_short(key))
    axes.set_ylabel(planned.metric)
    return drawing.to_svg(figure, f"slice-{key}", f"{planned.metric} over {key}, {len(points)} trials.")


def scatter_keys(planned: Plan) -> tuple[str, str] | None:
    """The first two keys that are drawn over magnitudes, such as learning rate and weight decay, if any."""
    keys = [key for key, distribution in planned.space.items() if getattr(distribution, "log", False)]
    return (keys[0], keys[1]) if len(keys) > 1 else None


def _scatter(planned: Plan, keys: tuple[str, str], complete: list[FrozenTrial]) -> str:
    """A dot a trial over two keys, both axes logarithmic, coloured by its value; the best is ringed."""
    import matplotlib
    from matplotlib.colors import BoundaryNorm
    from matplotlib.ticker import MaxNLocator

    trials = [t for t in complete if all(key in t.params for key in keys)]
    xs, ys = ([float(t.params[key]) for t in trials] for key in keys)
    values = np.array([float(t.value or 0) for t in trials])
    best = int(values.argmax() if planned.mode == "max" else values.argmin())
    levels = MaxNLocator(7).tick_values(values.min(), max(values.max(), values.min() + 1e-6))
    colours = matplotlib.colormaps["viridis" if planned.mode == "max" else "viridis_r"]
    figure, axes = drawing.new_figure(height=3.4)
    dots = axes.scatter(xs, ys, c=values, cmap=colours, norm=BoundaryNorm(levels, colours.N), s=36)
    axes.plot(xs[best], ys[best], "o", fillstyle="none", color=drawing.INK, markersize=10)
    drawing.log_x(axes)
    axes.set_yscale("log")
    axes.set_xlabel(_short(keys[0]))
    axes.set_ylabel(_short(keys[1]))
    bar = figure.colorbar(dots, ax=axes, drawedges=False)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(colors=drawing.MUTED, labelcolor=drawing.INK, labelsize=9)
    bar.set_label(planned.metric, color=drawing.INK, fontsize=10)
    text = (
        f"{planned.metric} of {len(trials)} trials over {keys[0]} and {keys[1]}; "
        f"the best, {values[best]:.4f}, at {xs[best]:.3g} and {ys[best]:.3g}."
    )
    return drawing.to_svg(figure, "scatter", text)


def _short(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")
