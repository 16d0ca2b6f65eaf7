"""Predictions in a file against a data set: results.json and report.html beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from deeprob.data.frame import Frame
from deeprob.data.predictions.files import Predicted, read_predictions
from deeprob.errors import InputError
from deeprob.evaluation.chance import Chance
from deeprob.evaluation.predicted_page import write_page
from deeprob.metrics.scores import Judged, Scores, entry
from deeprob.metrics.statistics import LEVEL, Intervals, holm
from deeprob.runs import write_json
from deeprob.tasks.detection.meter import BoxJudge
from deeprob.tasks.pose.meter import PoseJudge
from deeprob.tasks.segmentation.meter import PixelJudge

SCHEMA = 1
RANKED_SAMPLES = 500  # resamples where each ranks every detection again
CHANCE = "random"

Answer = Callable[[int, Frame], Any]  # what is said about frame number i of the split


def judge(
    path: Path,
    source: Any,
    split: str,
    *,
    against: str | None = CHANCE,
    unit: str | None = None,
    out: Path | None = None,
    samples: int = 2000,
    seed: int = 0,
    progress: bool = True,
    command: str = "",
) -> tuple[dict[str, Any], Path]:
    """Judge a file of predictions about a split of a source.

    against: what it is compared with on the same images, a second file or `random`; None: nothing. unit:
    `frame` or `group`, what is independent; None: as the data set says. out: folder of results.json and
    report.html; None: `<name of the file>_report` beside it. command: shown on the page. Returns the results
    and the page's path. Raises InputError that names the file and the entry for predictions that do not fit
    the data set.
    """
    unit = unit or str(getattr(source, "unit", "frame" if source.real else "group"))
    if unit not in ("frame", "group"):
        raise InputError(f"unit={unit}", expected="frame or group")
    if split not in source.splits:
        raise InputError(f"no split {split!r}", where=source.name, expected=" or ".join(source.splits))
    predicted = read_predictions(path, source, split)
    other = None if against in (None, CHANCE) else read_predictions(Path(str(against)), source, split)
    if other is not None and other.task != predicted.task:
        raise InputError(
            f"{other.task} against {predicted.task}", where=against, expected="predictions of one task"
        )
    task, frames = predicted.task, source.frames(split)
    samples = min(samples, RANKED_SAMPLES) if task in ("detection", "instance_segmentation") else samples
    chance = Chance(task, unit, seed)

    def run(answer: Answer, heading: str, note: Answer | None = None) -> tuple[Judged, set[str]]:
        judging = _judge_of(task, source, unit)
        keys = set()
        for index, frame in track(
            list_of(frames), heading, total=len(frames), disable=not progress, transient=True
        ):
            judging.add(index, frame, answer(index, frame))
            keys.add(frame.key)
            if note is not None:
                note(index, frame)
        return judging.judged(samples=samples, seed=seed, frames=frames, answer=answer), keys

    judged, keys = run(_of_file(predicted), path.name, chance.note)
    predicted.check_all_used(keys)
    baselines: dict[str, Scores] = {}
    if other is not None:
        baselines[other.path.stem] = run(_of_file(other), other.path.name)[0].scores
        other.check_all_used(keys)
    elif against == CHANCE:
        baselines[CHANCE] = run(lambda index, frame: chance.answer(index, frame, frames), CHANCE)[0].scores
    results = {
        "schema": SCHEMA,
        "predictions": str(path),
        "task": task,
        "split": split,
        **_measured(judged, baselines, samples=samples, seed=seed),
        "data": {"source": source.name, "real": bool(source.real), split: len(keys)},
    }
    results["interval"]["unit"] = unit
    folder = out or path.with_name(f"{path.stem}_report")
    write_json(folder / "results.json", results)
    return results, write_page(folder, results, judged, command)


def list_of(frames: Any) -> Iterator[tuple[int, Frame]]:
    """The frames of a split with their numbers; those that are bad and skipped are left out."""
    for index in range(len(frames)):
        frame = frames.read(index) if hasattr(frames, "read") else frames[index]
        if frame is not None:
            yield index, frame


def _judge_of(task: str, source: Any, unit: str) -> PoseJudge | BoxJudge | PixelJudge:
    if task == "pose":
        return PoseJudge(source, unit)
    if task == "segmentation":
        return PixelJudge(source, unit)
    return BoxJudge(source, unit, masks=task == "instance_segmentation")


def _of_file(predicted: Predicted) -> Answer:
    if predicted.task == "segmentation":
        return lambda _, frame: predicted.label_map(frame)
    return predicted.of


def _measured(judged: Judged, baselines: dict[str, Scores], *, samples: int, seed: int) -> dict[str, Any]:
    """Metrics, baselines and differences as results.json holds them, p-values corrected together."""
    scores = judged.scores
    differences: dict[str, Any] = {}
    for name, other in baselines.items():
        d = scores.difference(other, samples=samples, seed=seed)
        known = np.isfinite(d.p_value)
        p_value = np.full_like(d.p_value, np.nan)
        p_value[known] = holm(d.p_value[known])
        differences[name] = {
            metric: entry(d.value[i], d.low[i], d.high[i], scores.counts[i]) | {"p_value": _known(p_value[i])}
            for i, metric in enumerate(scores.names)
        }
    intervals = scores.intervals(samples=samples, seed=seed)
    return {
        "metrics": _named(scores, intervals),
        "baselines": {
            name: _named(other, other.intervals(samples=samples, seed=seed))
            for name, other in baselines.items()
        },
        "differences": differences,
        "per_class": judged.per_class,
        "slices": judged.slices,
        "sliced": judged.sliced,
        "notes": list(judged.notes),
        "interval": {"method": scores.method, "level": LEVEL, "samples": samples, "units": scores.num_units},
    }


def _named(scores: Scores, intervals: Intervals) -> dict[str, dict[str, Any]]:
    of = intervals
    return {
        name: entry(of.value[i], of.low[i], of.high[i], scores.counts[i])
        for i, name in enumerate(scores.names)
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
