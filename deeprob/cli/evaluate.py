"""Evaluate a run folder again, on any split and with any of its checkpoints.

usage: deeprob evaluate run=<run folder> [split=val] [checkpoint=last] [robustness=true]
       deeprob evaluate run=<run folder> data=<other data set> split=val

Writes results.json (results_<split>.json for a split that the experiment is not judged by) and the
predictions behind it. With `data`, the same model is judged on another data set of its classes, such as real
images after simulated ones. `deeprob report run=<run folder>` then writes the report again, which shows both
side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(arguments: list[str]) -> int:
    """Run the verb. Returns the exit code; raises InputError and KeyboardInterrupt."""
    from deeprob.config import hydra_main

    hydra_main("evaluate", evaluate, arguments)
    return 0


def evaluate(cfg: DictConfig) -> None:
    """Evaluate the run that `cfg` names, and print its table."""
    from rich.console import Console

    from deeprob.errors import InputError
    from deeprob.evaluation.evaluate import evaluate_run, print_table
    from deeprob.runs import Run

    run = Run.find(cfg.run)
    if cfg.data is not None and cfg.robustness:
        raise InputError("robustness on other data", expected="one of data=... and robustness=true")
    results = evaluate_run(run, cfg.split, cfg.checkpoint, allowed=list(cfg.allowed_targets), other=cfg.data)
    console = Console()
    print_table(results, console)
    if cfg.robustness:
        from deeprob.evaluation.robustness import evaluate_robustness, table

        console.print(
            table(evaluate_robustness(run, cfg.split, cfg.checkpoint, allowed=list(cfg.allowed_targets)))
        )
