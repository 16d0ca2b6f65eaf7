"""Search for good hyper-parameters over any keys of an experiment.

usage: deeprob sweep sweep=<name> [jobs=2] [sweep.trials=50] [sweep.sampler=random] [dry_run=true]

Every trial is a training in a run folder under runs/sweeps/<name>/; unpromising ones are pruned. The same
command again goes on where the sweep stopped, and in another terminal, job or machine it joins in;
`worker=true` leaves the report to others and ends when no trial is left to start. Writes the best settings
as an experiment (deeprob train experiment=runs/sweeps/<name>/<name>_best.yaml) and report.html there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from deeprob.studies.sweep.study import SharedStudy
    from deeprob.studies.sweep.trial import Plan

POLL_SECONDS = 0.5  # between two looks for a trial that another worker left behind


def main(arguments: list[str]) -> int:
    """Run the verb. Returns the exit code; raises InputError and KeyboardInterrupt."""
    from deeprob.config import compose, hydra_main

    if any(a.startswith("-") for a in arguments):  # --cfg job and the like are Hydra's
        hydra_main("sweep", lambda cfg: None, arguments)
        return 0
    return sweep(compose("sweep", arguments), arguments)


def sweep(cfg: DictConfig, arguments: list[str]) -> int:
    """Run trials until the sweep is finished, then write its report. Returns 1 where no trial succeeded."""
    from rich.console import Console

    from deeprob.errors import InputError
    from deeprob.overrides import shell
    from deeprob.progress import print_whole

    if cfg.jobs < 1:
        raise InputError(f"jobs={cfg.jobs}", expected="1 or more")
    _share_threads(cfg.jobs)  # torch looks at it when it is imported
    from deeprob.studies.sweep.report import rich_table, write_report
    from deeprob.studies.sweep.trial import plan, write_best

    console = Console(markup=False)
    planned = plan(cfg)
    print_plan(planned, console)
    if cfg.dry_run:
        return 0
    study = planned.study()  # made before the others look for it
    others = [_start(arguments, planned, number) for number in range(1, cfg.jobs)]
    try:
        _work(planned, study, console, wait=not cfg.worker)
    except BaseException:
        for process in others:
            process.terminate()
        raise
    finally:
        for process in others:
            process.wait()
    if cfg.worker:
        return 0
    print_whole(rich_table(study, planned), console)
    console.print(f"report  {write_report(planned, study)}", highlight=False, soft_wrap=True)
    best = study.best
    if best is None:
        return 1
    path = write_best(planned, best)
    command = f"deeprob train {shell('experiment', path)}"
    console.print(f"train the best  {command}", highlight=False, soft_wrap=True)
    return 0


def print_plan(planned: Plan, console: Console) -> None:
    """Print what is searched, how, and where."""
    from rich.table import Table

    sweep = planned.cfg.sweep
    table = Table("key", "values", title=f"sweep {planned.name} of {sweep.experiment}", title_justify="left")
    distribution: Any
    for key, distribution in planned.space.items():
        choices = getattr(distribution, "choices", None)
        if choices is not None:
            table.add_row(key, " ".join(map(str, choices)))
        else:
            shape = "log" if distribution.log else f"step {distribution.step}" if distribution.step else ""
            table.add_row(key, f"{distribution.low:g} to {distribution.high:g} {shape}".rstrip())
    console.print(table, markup=False)
    folds = f", each the mean of {planned.folds} folds" if planned.folds else ""
    best = {"max": "highest", "min": "lowest"}[planned.mode]
    console.print(
        f"{planned.limit} trials by {sweep.sampler}{folds}; {best} {planned.metric}, "
        f"{planned.judged_by} epoch; pruner {sweep.pruner}; in {planned.folder}",
        highlight=False,
        soft_wrap=True,
    )


def _work(planned: Plan, study: SharedStudy, console: Console, wait: bool) -> None:
    """Run trials while there are any; with `wait`, stay until those of others have ended, and take over."""
    from deeprob.studies.sweep.study import Worker
    from deeprob.studies.sweep.trial import work

    with Worker(planned.folder) as worker:
        while True:
            line = work(planned, study, worker)
            if line is not None:
                done = len(study.ended())
                console.print(
                    f"[{done}/{planned.limit}]  {line}", highlight=False, markup=False, soft_wrap=True
                )
            elif not wait or study.finished:
                return
            else:
                time.sleep(POLL_SECONDS)


def _share_threads(jobs: int) -> None:
    """Processes that each take every core slow each other down."""
    if jobs > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))


def _start(arguments: list[str], planned: Plan, number: int) -> subprocess.Popen[bytes]:
    """Start a worker as a process of its own; it ends with us."""
    from deeprob.studies.processes import die_with_parent

    own = [a for a in arguments if a.partition("=")[0] not in ("jobs", "worker")]
    with open(planned.folder / f"worker-{number}.txt", "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "deeprob", "sweep", *own, "worker=true"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent() if sys.platform == "linux" else None,
        )
