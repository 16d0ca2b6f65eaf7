"""Train, evaluate and report one experiment.

usage: deeprob train experiment=<name> [key=value ...]
       deeprob train -m experiment=<name> seed=0,1,2        several runs, one after the other
       deeprob train run=<run folder> [key=value ...]       go on with a run that was interrupted

The run folder runs/<experiment>/<run id>/ holds config, metrics, checkpoints, results.json, report.html.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deeprob.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from deeprob.runs import Run


def main(arguments: list[str]) -> int:
    """Run the verb. Returns the exit code; raises InputError and KeyboardInterrupt."""
    from deeprob.config import hydra_main
    from deeprob.overrides import plain

    folder = next((a for a in arguments if a.startswith("run=")), None)
    if folder is not None:
        return resume(plain(folder), [a for a in arguments if not a.startswith("run=")])
    codes: list[int] = []

    def task(cfg: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        from deeprob.runs import given_run_id
        from deeprob.training.request import run_of

        if cfg.trainer.overfit:
            from deeprob.training.overfit import overfit_config

            cfg = overfit_config(cfg)  # what config.yaml will hold
        hydra = HydraConfig.get()
        overrides = list(hydra.overrides.task)
        run = run_of(cfg, overrides, several=hydra.mode is RunMode.MULTIRUN)
        try:
            codes.append(run_one(cfg, run, overrides))
        except InputError:
            if given_run_id() is None:  # else a scheduler's: its list of tasks shows why
                run.forget()
            raise

    hydra_main("train", task, arguments)
    return max(codes, default=0)


def resume(folder: str, changes: list[str]) -> int:
    """Go on with a run folder from its last checkpoint; `changes` are overrides of its config."""
    from deeprob.runs import Run
    from deeprob.training.changes import change
    from deeprob.writing import check_writable

    run = Run.find(folder)
    check_writable(run.path, "train a new run")

    cfg = change(run, changes)
    before = run.overrides.read_text(encoding="utf-8").split("\n") if run.overrides.is_file() else []
    return run_one(cfg, run, list(dict.fromkeys([*filter(None, before), *changes])), changes)


def run_one(cfg: DictConfig, run: Run, overrides: list[str], changes: Sequence[str] = ()) -> int:
    """Train, evaluate and report in `run`'s folder. A failure is one line, and a traceback in error.txt.

    Several processes train; the first of them evaluates. changes: the overrides that the folder's config does
    not hold yet. Returns the exit code.
    """
    from rich.console import Console

    from deeprob.runs import InUseError
    from deeprob.training.distributed import launch, must_launch, rank
    from deeprob.writing import DISK

    if must_launch(cfg.trainer):
        from deeprob.training.run import write_request

        with run.locked():
            if not changes:  # else the processes check them first
                write_request(cfg, run, overrides)
        return launch(cfg, run, changes)
    main_process = rank(cfg.trainer) == 0
    console = Console(markup=False, quiet=not main_process)
    console.print(f"run folder  {run.path}", highlight=False, soft_wrap=True)
    started = time.monotonic()
    try:
        from deeprob.evaluation.evaluate import evaluate_run, print_results
        from deeprob.evaluation.report import write_report
        from deeprob.targets import admitted
        from deeprob.training.run import train_run

        train_run(cfg, run, overrides)
        if not main_process or cfg.trainer.overfit or cfg.trainer.lr_finder:
            return 0
        evaluate_run(run, allowed=admitted(cfg))
        report = write_report(run, allowed=admitted(cfg))
    except KeyboardInterrupt:
        print(f"\ninterrupted; go on with: deeprob train {run.argument}", file=sys.stderr)
        raise
    except Exception as error:
        if isinstance(error, InputError) and (isinstance(error, InUseError) or run.checkpoints.is_dir()):
            raise  # a request that was refused is no failure of what is there
        kept = _keep(run, traceback.format_exc())
        if isinstance(error, InputError):
            raise
        line = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and error.errno in DISK and error.filename:
            line = f"{error.filename}: {error.strerror}"
        told = f" (traceback: {run.error})" if kept else ""
        print(f"deeprob train: failed: {line}{told}", file=sys.stderr)
        return 1
    print_results(run, console)
    console.print(f"\n{time.monotonic() - started:.0f} s in all", highlight=False)
    console.print(f"report  {report}", highlight=False, soft_wrap=True)
    return 0


def _keep(run: Run, text: str) -> bool:
    """Write error.txt; returns whether there was room for it."""
    from deeprob.writing import write_text

    try:
        write_text(run.error, text)
    except OSError:
        return False
    return True
