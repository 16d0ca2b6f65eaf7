"""Write a run folder's report.html again, or one table of many runs.

usage: deeprob report run=<run folder>
       deeprob report runs='runs/*/*' [metric=macro_f1] [base=<group>] [output=<folder>]

With `runs`, those that differ by their seed alone form a group; comparison.html, table.md, table.csv and
table.tex in the output folder hold the mean, spread and difference of each group, with intervals.
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
    """Write what `cfg` asks for, and print where it is."""
    from pathlib import Path

    from rich.console import Console

    from deeprob.errors import InputError
    from deeprob.runs import Run

    console = Console(markup=False)
    if (cfg.run is None) == (cfg.runs is None):
        what = "nothing to report on" if cfg.run is None else "run= and runs= together"
        raise InputError(what, expected="either run=<run folder> or runs='<pattern>'")
    if cfg.run is not None:
        from deeprob.evaluation.report import write_report
        from deeprob.writing import check_writable

        run = Run.find(cfg.run)
        check_writable(run.path, "report on a copy of it")
        path = write_report(run, allowed=list(cfg.allowed_targets))
    else:
        from deeprob.progress import print_whole
        from deeprob.studies import tables
        from deeprob.studies.gather import write_comparison

        findings, path = write_comparison(
            cfg.runs, Path(cfg.output).expanduser(), cfg.metric, cfg.base, list(cfg.allowed_targets)
        )
        print_whole(
            tables.rich_table(findings.rows, findings.metric, f"compared with {findings.base}"), console
        )
    console.print(f"report  {path}", highlight=False, soft_wrap=True)
