"""Robot perception training with hand-written backward passes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deeprob.version import __version__

if TYPE_CHECKING:
    from deeprob.deploy.trained import TrainedRun

__all__ = ["__version__", "load"]


def load(folder: str | Path, checkpoint: str | None = None, allowed: list[str] | None = None) -> TrainedRun:
    """Load a trained run: `predict` what is in an image; its `model`, `task`, `classes` and `data`.

    folder: of the run, such as runs/quickstart/RUN_ID. checkpoint: `best` or `last`; None: the one that its
    results are of. allowed: further packages that its config may call. The data set need not be there, unless
    `data` is asked for.
    Raises InputError where there is no such run, or its files do not fit.
    """
    from deeprob.deploy.trained import TrainedRun
    from deeprob.runs import Run

    return TrainedRun.load(Run.find(folder), checkpoint, allowed)
