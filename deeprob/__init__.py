"""Robot perception training with hand-written backward passes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deeprob.version import __version__

if TYPE_CHECKING:
    from deeprob.training.experiment import Experiment

__all__ = ["__version__", "load"]


def load(folder: str | Path, checkpoint: str = "best", allowed: list[str] | None = None) -> Experiment:
    """Load a trained run: its `model`, `task` and `data`, and `predict`.

    folder: of the run, such as runs/quickstart/RUN_ID. checkpoint: `best` or `last`. allowed: further
    packages that its config may call. Raises InputError where there is no such run, or its files do not fit.
    """
    from deeprob.runs import Run
    from deeprob.training.experiment import load as load_experiment

    return load_experiment(Run.find(folder), checkpoint, allowed)
