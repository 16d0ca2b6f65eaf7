"""Run a verb on a cluster, or in the background here: one array of tasks, each of which survives a requeue.

usage: deeprob submit <verb> [the verb's keys] [cluster=msi] [cluster.time=08:00:00] [dry_run=true]
       deeprob submit train experiment=quickstart seed=0,1,2 model.width=16,32     six tasks
       deeprob submit sweep sweep=quickstart workers=8                             workers on one study
       deeprob submit ablate ablation=quickstart                                   one training a task
       deeprob submit status|cancel|resubmit [job=<name or number>|all]            the newest job, or that

  verbs      train sweep ablate evaluate report render benchmark gradcheck
  dry_run    write the job's script and print its path as the last line
  resubmit   tasks that failed or were lost, into the run folders they have
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from deeprob.errors import InputError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.table import Table

    from deeprob.cluster.job import Job
    from deeprob.cluster.queue import Progress

ACTIONS = ("status", "cancel", "resubmit")


def main(arguments: list[str]) -> int:
    """Run the verb. Returns the exit code; raises InputError."""
    from deeprob.config import compose, hydra_main

    if any(a.startswith("-") for a in arguments):  # --cfg job and the like are Hydra's
        hydra_main("submit", lambda cfg: None, [a for a in arguments if a.startswith("-") or "=" in a])
        return 0
    if not arguments or "=" in arguments[0]:
        raise InputError(
            "nothing to submit", expected="deeprob submit train experiment=..., or submit status"
        )
    broken = next((a for a in arguments if "\n" in a or "\r" in a), None)
    if broken is not None:
        raise InputError("a line break in a value", where=repr(broken), expected="one line")
    option = next((a for a in arguments if a.startswith("-")), None)
    if option is not None:
        raise InputError(f"option {option}", expected="key=value: commas make an array, without -m")
    action, *overrides = arguments
    own, others = split(action, overrides)
    cfg = compose("submit", own)
    if action in ACTIONS:
        if others:
            raise InputError(
                f"no key {others[0].partition('=')[0]!r}", where=f"submit {action}", expected="job"
            )
        return {"status": status, "cancel": cancel, "resubmit": resubmit}[action](cfg)
    return submit(cfg, action, others, shlex.join(["deeprob", "submit", *arguments]))


def split(action: str, overrides: list[str]) -> tuple[list[str], list[str]]:
    """The overrides of `deeprob submit` itself, and those of the verb it submits; paths belong to both."""
    keys = ("cluster", "dry_run", *(("job",) if action in ACTIONS else ()))
    keys += ("workers",) if action == "sweep" else ()
    named = [(override.lstrip("+~").partition("=")[0].split(".")[0], override) for override in overrides]
    own = [override for key, override in named if key in keys]
    paths = [override for key, override in named if key == "paths"]
    others = [override for key, override in named if key not in keys and key != "paths"]
    return own + paths, others if action in ACTIONS else others + paths


def submit(cfg: DictConfig, verb: str, overrides: list[str], command: str) -> int:
    """Check and write the job that `command` asks for, hand it over, print how to watch it."""
    from deeprob.cluster import queue, script, slurm
    from deeprob.cluster.job import Job, check_writable, free_folder
    from deeprob.cluster.tasks import VERBS, check_runs, make_tasks

    cluster = cfg.cluster
    if cfg.workers < 1:
        raise InputError(f"workers={cfg.workers}", expected="1 or more")
    script.check(cluster)
    if not cfg.dry_run:
        check_runs(overrides)
    if verb in VERBS and cluster.scheduler == "slurm" and not cfg.dry_run:
        slurm.check(cluster)
    overrides = [*overrides, *_scratch_paths(cluster, verb, overrides)]
    jobs_dir = _jobs_dir(cfg)
    for folder in (jobs_dir, *([Path(cluster.scratch)] if cluster.scratch and not cfg.dry_run else [])):
        check_writable(folder)
    folder = free_folder(jobs_dir, verb)
    tasks = make_tasks(verb, overrides, folder.name, cfg.workers)
    if cluster.scheduler == "slurm" and not cfg.dry_run:
        slurm.check_length(len(tasks))
    job = Job(folder, cluster.scheduler, cluster.at_a_time, tasks, [])
    job.write()
    script.write_script(job, cluster, command, _shape(cluster, verb, overrides))
    plural = "task" if len(tasks) == 1 else "tasks"
    if cfg.dry_run:
        print(f"{len(tasks)} {plural}, not submitted")
        print(job.script)
        return 0
    job = queue.submit(job, range(len(tasks)))
    print(f"submitted {job.name}: {len(tasks)} {plural}, {job.scheduler} number {job.submissions[-1].id}")
    print(f"script    {job.script}")
    print(f"watch     deeprob submit status job={job.name}{_elsewhere(cfg)}")
    if verb == "ablate":
        print(f"then      {shlex.join(['deeprob', 'ablate', *overrides])}")
    return 0


def _jobs_dir(cfg: DictConfig) -> Path:
    return Path(cfg.paths.runs_dir).expanduser().absolute() / "jobs"


def _elsewhere(cfg: DictConfig) -> str:
    """What must be said to find the job again where runs do not lie in the usual place."""
    from deeprob.config import compose
    from deeprob.overrides import shell

    usual = compose("submit").paths.runs_dir
    return "" if cfg.paths.runs_dir == usual else f" {shell('paths.runs_dir', cfg.paths.runs_dir)}"


def _scratch_paths(cluster: DictConfig, verb: str, overrides: list[str]) -> list[str]:
    """Where runs and caches go on a cluster that has a scratch folder, unless the user said otherwise."""
    from deeprob.schema import SCHEMA

    has_paths = "paths" in getattr(SCHEMA["root"].get(verb), "__dataclass_fields__", {})
    if not cluster.scratch or not has_paths or any(o.startswith("run=") for o in overrides):
        return []
    wanted = {"paths.runs_dir": "runs", "paths.cache_dir": "cache"}
    given = {override.partition("=")[0] for override in overrides}
    return [f"{key}={cluster.scratch}/{name}" for key, name in wanted.items() if key not in given]


def _shape(cluster: DictConfig, verb: str, overrides: list[str]) -> tuple[int, int]:
    """Nodes, and processes on each: as the training wants them, where the cluster's config does not say."""
    from deeprob.cluster.tasks import first_values
    from deeprob.config import composed

    nodes, processes = 1, 1
    if verb == "train" and not any(o.startswith("run=") for o in overrides):
        trainer = composed("train", tuple(first_values(overrides))).trainer
        nodes = int(trainer.get("num_nodes", 1))
        processes = trainer.devices if isinstance(trainer.devices, int) else 1
    return cluster.nodes or nodes, cluster.processes or processes


def status(cfg: DictConfig) -> int:
    """Print every task of the jobs asked for."""
    from rich.console import Console

    from deeprob.cluster.job import find_jobs
    from deeprob.cluster.queue import progress

    console = Console(markup=False)
    for job in find_jobs(_jobs_dir(cfg), cfg.job):
        console.print(_table(job, progress(job)))
        console.print(f"logs  {job.folder / 'logs'}", highlight=False, soft_wrap=True)
    return 0


def cancel(cfg: DictConfig) -> int:
    """Cancel the jobs asked for."""
    from deeprob.cluster import queue
    from deeprob.cluster.job import find_jobs

    for job in find_jobs(_jobs_dir(cfg), cfg.job):
        queue.cancel(job)
        print(f"cancelled {job.name}; what is finished is kept")
    return 0


def resubmit(cfg: DictConfig) -> int:
    """Hand the failed and lost tasks of the jobs asked for over again."""
    from deeprob.cluster import queue
    from deeprob.cluster.job import find_jobs

    for job in find_jobs(_jobs_dir(cfg), cfg.job):
        job, again = queue.resubmit(job)
        tasks = " ".join(map(str, again))
        print(f"submitted {job.name} again: tasks {tasks}, {job.scheduler} number {job.submissions[-1].id}")
    return 0


def _table(job: Job, tasks: list[Progress]) -> Table:
    from rich.table import Table
    from rich.text import Text

    colours = {"COMPLETED": "green", "RUNNING": "cyan", "FAILED": "red", "LOST": "red", "TIMEOUT": "red"}
    numbers = " ".join(submission.id for submission in job.submissions) or "not submitted"
    table = Table(title=f"{job.name}  ({job.scheduler} {numbers})", title_justify="left")
    for name in ("task", "what", "state", "starts", "step", "last", "left", "where"):
        table.add_column(name, overflow="fold")
    for task in tasks:
        table.add_row(
            str(task.task),
            Text(task.label),
            Text(task.state, style=colours.get(task.state, "yellow")),
            str(task.starts or ""),
            f"{task.step}/{task.total_steps}" if task.total_steps else "",
            f"{task.metric[0]} {task.metric[1]:.4f}" if task.metric else "",
            _duration(task.seconds_left) if task.seconds_left is not None else "",
            Text(task.where),
        )
    return table


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
