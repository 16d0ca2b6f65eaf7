"""The script that a scheduler runs, from a template that a human reads."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig

from deeprob.cluster.job import Job
from deeprob.errors import InputError
from deeprob.runs import write_text


def write_script(job: Job, cluster: DictConfig, command: str, shape: tuple[int, int]) -> None:
    """Write job.sh. command: the line that submitted it; shape: nodes, and processes on each."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).with_name("templates"))
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    slurm = cluster.scheduler == "slurm"
    text = environment.get_template("job.sh.j2").render(
        command=command,
        options=options(job, cluster, shape) if slurm else [],
        folder=shlex.quote(str(job.folder)),
        directory=shlex.quote(str(Path.cwd())),
        modules=[shlex.quote(module) for module in cluster.modules],
        setup=cluster.setup,
        environment={name: shlex.quote(value) for name, value in cluster.environment.items()},
        cpus=cluster.cpus,
        launch=_launch(cluster),
        requeue=slurm and cluster.requeue,
        kill_retries=cluster.kill_retries,
    )
    write_text(job.script, re.sub(r"\n{3,}", "\n\n", text))


def _launch(cluster: DictConfig) -> str:
    """What stands before `deeprob`'s arguments. srun: only what it starts gets the signal before the end."""
    srun = (
        f"srun --cpus-per-task={cluster.cpus} --unbuffered --kill-on-bad-exit "
        if cluster.scheduler == "slurm"
        else ""
    )
    if cluster.container:
        inside = shlex.join(["apptainer", "exec", *cluster.container_options, cluster.container])
        return f"{srun}{inside} deeprob"
    return f"{srun}{shlex.quote(cluster.python or sys.executable)} -m deeprob"


def options(job: Job, cluster: DictConfig, shape: tuple[int, int]) -> list[str]:
    """The options of sbatch, one a line."""
    nodes, processes = shape
    limit = f"%{cluster.at_a_time}" if cluster.at_a_time else ""
    wanted: Mapping[str, object] = {
        "job-name": job.name,
        "array": f"0-{len(job.tasks) - 1}{limit}",
        "output": job.folder / "logs" / "%a.log",
        "open-mode": "append",
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "gres": cluster.gres,
        "time": cluster.time,
        "mem": cluster.memory,
        "tmp": cluster.tmp,
        "nodes": nodes,
        "ntasks-per-node": processes,
        "cpus-per-task": cluster.cpus,
        "mail-user": cluster.mail,
        "mail-type": cluster.mail_on if cluster.mail else None,
    }
    lines = [f"--{name}={value}" for name, value in wanted.items() if value is not None]
    if cluster.requeue:
        lines += ["--requeue", f"--signal=SIGUSR1@{cluster.signal_seconds}"]
    else:
        lines.append("--no-requeue")
    return [*lines, *cluster.options]


def seconds(time: str) -> int | None:
    """A time limit of SLURM in seconds, None for no limit. Raises InputError for what is not one.

    minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes and so on.
    """
    if time.lower() in ("infinite", "unlimited", "0"):
        return None
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time)
    if not match:
        raise InputError(f"cluster.time is {time!r}", expected="such as 04:00:00 or 2-12:00:00")
    days, *rest = match.groups()
    first, second, third = (int(part) if part else 0 for part in rest)
    if days is not None:
        return ((int(days) * 24 + first) * 60 + second) * 60 + third
    if rest[1] is None:
        return first * 60
    return first * 60 + second if rest[2] is None else (first * 60 + second) * 60 + third


def check_time(cluster: DictConfig) -> None:
    """Raise InputError for a time limit that leaves no time before the warning."""
    limit = seconds(str(cluster.time)) if cluster.time is not None else None
    if cluster.requeue and limit is not None and limit <= cluster.signal_seconds:
        raise InputError(
            f"cluster.time={cluster.time} is not longer than cluster.signal_seconds={cluster.signal_seconds}",
            expected="time to train, and then that much to save a checkpoint",
        )
