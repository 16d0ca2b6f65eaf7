"""Predictions in a file, whatever made them, against a data set: results.json and report.html beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from deeprob.data.predictions.files import read_predictions
from deeprob.errors import InputError
from deeprob.evaluation.report import write_page
from deeprob.metrics.entries import measured
from deeprob.progress import steps
from deeprob.tasks.base import Block
from deeprob.tasks.frames import RANDOM, FramePredictor, FrameTask, evaluate_frames
from deeprob.tasks.known import known_tasks
from deeprob.writing import write_json

SCHEMA = 1


def judge(
    path: Path,
    source: Any,
    split: str,
    *,
    against: str | None = RANDOM,
    unit: str | None = None,
    out: Path | None = None,
    samples: int = 2000,
    seed: int = 0,
    progress: bool = True,
    command: str = "",
    blocks: Sequence[Block] = (),
    notes: Sequence[str] = (),
) -> tuple[dict[str, Any], Path]:
    """Evaluate a file of predictions for a split of a source.

    against: what it is compared with on the same images, a second file or `random`; None: nothing. unit:
    `frame` or `group`, what is independent; None: as the data set says. out: folder of results.json and
    report.html; None: runs/predictions/<name of the file>. command: shown on the page. blocks, notes: what
    else the page and the results say of how the predictions came about. Returns the results and the page's
    path. Raises InputError that names the file and the entry for predictions that do not fit the data set.
    """
    unit = unit or source.unit
    if unit not in ("frame", "group"):
        raise InputError(f"unit={unit}", expected="frame or group")
    if split not in source.splits:
        raise InputError(f"no split {split!r}", where=source.name, expected=" or ".join(source.splits))
    predicted = read_predictions(path, source, split)
    other = None if against in (None, RANDOM) else read_predictions(Path(str(against)), source, split)
    if other is not None and other.task != predicted.task:
        raise InputError(
            f"{other.task} against {predicted.task}", where=against, expected="predictions of one task"
        )
    kind, frames = known_tasks()[predicted.task], source.frames(split)
    assert issubclass(kind, FrameTask)  # what a file can hold predictions of
    baselines: dict[str, FramePredictor | None] = {}
    if other is not None:
        baselines[other.path.stem] = kind.predictor_of(other)
    elif against == RANDOM:
        baselines[RANDOM] = None
    keys: set[str] = set()
    status = partial(steps, shown=progress)
    evaluation = evaluate_frames(
        kind,
        source,
        frames,
        unit,
        _noting(kind.predictor_of(predicted), keys),
        baselines,
        samples=samples,
        seed=seed,
        status=status,
    )
    for file in (predicted, other):
        if file is not None:
            file.check_all_used(keys)
    with status("intervals"):
        found = measured(evaluation, samples=samples, seed=seed, unit=unit)
    results = {
        "schema": SCHEMA,
        "predictions": str(path),
        "task": kind.name,
        "split": split,
        **found,
        "data": {"source": source.name, "real": bool(source.real), split: len(keys)},
    }
    results["interval"]["unit"] = unit
    if notes:
        results["notes"] = [*notes, *results.get("notes", ())]
    folder = out or Path("runs", "predictions", path.stem)
    write_json(folder / "results.json", results)
    shown = {"drawings": evaluation.drawings, "worst": evaluation.worst}
    page = kind.frame_page(results, shown)
    return results, write_page(folder, results, kind, replace(page, blocks=[*blocks, *page.blocks]), command)


def _noting(answer: FramePredictor, keys: set[str]) -> FramePredictor:
    """The same, noting which frames were asked for."""

    def noted(index: int, frame: Any) -> Any:
        keys.add(frame.key)
        return answer(index, frame)

    return noted
