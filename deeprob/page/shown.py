"""What an evaluation drew, kept beside its numbers: a report is made again from the folder alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deeprob.metrics.scores import Evaluation
from deeprob.runs import Run
from deeprob.writing import write_json

NOTHING: Mapping[str, Any] = {"drawings": {}, "worst": []}


def path_of(run: Run, split: str) -> Path:
    """Where drawings and pictures of a split lie."""
    return run.path / f"shown_{split}.json"


def write_shown(run: Run, split: str, evaluation: Evaluation) -> None:
    """Keep the drawings and pictures of an evaluation; no file where there are none."""
    if evaluation.drawings or evaluation.worst:
        content = {"drawings": dict(evaluation.drawings), "worst": list(evaluation.worst)}
        write_json(path_of(run, split), content)


def read_shown(path: Path) -> Mapping[str, Any]:
    """What `write_shown` wrote; nothing where the file is missing or broken: the numbers stand without."""
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return NOTHING
    return found if isinstance(found, dict) and NOTHING.keys() <= found.keys() else NOTHING
