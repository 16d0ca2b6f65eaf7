"""Write a run folder's report.html again, from what the folder holds.

usage: deeprob report run=<run folder>
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(arguments: list[str]) -> int:
    """Run the verb. Returns the exit code; raises InputError."""
    from deeprob.config import hydra_main

    hydra_main("report", report, arguments)
    return 0


def report(cfg: DictConfig) -> None:
    """Write the report of the run that `cfg` names, and print where it is."""
    from deeprob.evaluation.report import write_report
    from deeprob.runs import Run

    print(f"report  {write_report(Run.find(cfg.run))}")
