"""Train variants of an experiment and tabulate what each part contributes.

usage: deeprob ablate ablation=<name> [jobs=2] [dry_run=true] [ablation.seeds=[0,1,2]]
       deeprob ablate ablation=<name> ablation.budget.hours=8

Prints the plan, then runs what is not done yet, each run in a process and a folder of its own under
runs/ablation-<name>/. A variant that fails is a row with its error; Ctrl-C keeps what is done; the same
call again goes on from there, as it does where the budget of hours or runs is spent. Writes ablation.html,
table.md, table.csv, table.tex and difference.svg into that folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from deeprob.studies.ablation import Plan


def main(arguments: list[str]) -> int:
    """Run the verb. Returns the exit code, 1 where a run failed; raises InputError and KeyboardInterrupt."""
    from deeprob.config import compose, hydra_main

    if any(a.startswith("-") for a in arguments):  # --cfg job and the like are Hydra's
        hydra_main("ablate", lambda cfg: None, arguments)
        return 0
    return ablate(compose("ablate", arguments))


def ablate(cfg: DictConfig) -> int:
    """Plan, run and tabulate the ablation that `cfg` describes. Returns 1 where a run failed, else 0."""
    from rich.console import Console

    from deeprob.errors import InputError
    from deeprob.progress import print_whole
    from deeprob.studies import ablation, tables
    from deeprob.studies.processes import run_all

    if cfg.jobs < 1:
        raise InputError(f"jobs={cfg.jobs}", expected="1 or more")
    for name, value in cfg.ablation.get("budget", {}).items():
        if value is not None and value < 0:
            raise InputError(f"ablation.budget.{name} is {value}", expected="0 or more, or null")
    console = Console(markup=False)
    planned = ablation.plan(cfg)
    print_plan(planned, console)
    if cfg.dry_run:
        return 0
    budget = cfg.ablation.budget
    jobs = list(planned.jobs.values())
    run_all(list(planned.starts.values()), console, cfg.jobs)
    errors = run_all(jobs, console, cfg.jobs, most=budget.runs, hours=budget.hours)
    left = [job.label for job in jobs if not job.done and job.label not in errors]
    if left:
        told = f"{len(left)} of {len(jobs)} runs left by the budget: {', '.join(left)}; the same call goes on"
        console.print(told, highlight=False, soft_wrap=True)
    if not any(job.done for job in jobs) and not errors:
        return 0
    findings = ablation.compare(planned, errors)
    path = ablation.write(planned, findings)
    print_whole(tables.rich_table(findings.rows, findings.metric, f"ablation {planned.name}"), console)
    for line in tables.failures(findings.rows):
        console.print(f"failed  {line}", highlight=False, soft_wrap=True)
    console.print(f"report  {path}", highlight=False, soft_wrap=True)
    return 1 if errors else 0


def print_plan(planned: Plan, console: Console) -> None:
    """Print every variant with what it changes and how many of its runs are done."""
    from rich.table import Table

    table = Table(title=f"ablation {planned.name}: {len(planned.jobs)} runs of {planned.experiment}")
    for name in ("variant", "changes", "seeds", "done"):
        table.add_column(name)
    for name, changes in planned.design.variants.items():
        done = sum(planned.jobs[name, seed].done for seed in planned.seeds)
        seeds = " ".join(map(str, planned.seeds))
        table.add_row(name, "\n".join(changes) or "–", seeds, f"{done} of {len(planned.seeds)}")
    console.print(table)
