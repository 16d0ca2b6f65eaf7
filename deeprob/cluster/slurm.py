"""SLURM's commands, and their errors as one line."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Sequence

from omegaconf import DictConfig

from deeprob.cluster.job import Job
from deeprob.cluster.script import seconds
from deeprob.errors import InputError

TIMEOUT_SECONDS = 60
FIRST_SECONDS = 20  # for the first question, which a controller that is up answers at once
SILENT = "the scheduler does not answer"
RETRY = "try again when `scontrol ping` says UP; dry_run=true only writes the job"
SMALL_ARRAY = 100  # no cluster takes less


def check(cluster: DictConfig) -> None:
    """Raise InputError for what is known to be wrong before anything is queued."""
    if cluster.require_account and not cluster.account:
        raise InputError(
            "no account to charge the job to",
            where="cluster.account",
            fix="cluster.account=GROUP, or export SBATCH_ACCOUNT=GROUP; yours are listed by: groups",
        )
    _need("sbatch")
    limits = dict(
        line.strip().split("|")
        for line in _call("sinfo", "-h", "-o", "%R|%l", wait=FIRST_SECONDS).splitlines()
    )
    wanted = str(cluster.partition).split(",") if cluster.partition else []
    for partition in wanted:
        if partition not in limits:
            raise InputError(
                f"no partition {partition!r} here",
                where="cluster.partition",
                expected=" ".join(sorted(limits)),
            )
    longest = [(seconds(limits[partition]), limits[partition]) for partition in wanted]
    asked = seconds(str(cluster.time)) if cluster.time is not None else 0
    if longest and all(limit is not None and (asked is None or asked > limit) for limit, _ in longest):
        raise InputError(
            f"cluster.time={cluster.time} is longer than {cluster.partition} allows",
            expected=f"at most {', '.join(text for _, text in longest)}",
            fix="ask for less: a task that reaches its limit is queued again",
        )


def check_length(tasks: int) -> None:
    """Raise InputError where the cluster takes no array of so many tasks."""
    if tasks <= SMALL_ARRAY:
        return
    match = re.search(r"MaxArraySize\s*=\s*(\d+)", _call("scontrol", "show", "config"))
    if match and tasks >= int(match[1]):
        raise InputError(
            f"an array of {tasks} tasks",
            expected=f"at most {int(match[1]) - 1} here (MaxArraySize)",
            fix="submit it in parts, such as seed=range(0,500) and then seed=range(500,1000)",
        )


def submit(job: Job, tasks: Sequence[int]) -> str:
    """Queue those tasks of a job; returns the number of the array. Raises InputError with sbatch's reason."""
    limit = f"%{job.at_a_time}" if job.at_a_time else ""
    array = ",".join(map(str, tasks)) + limit
    return _call("sbatch", "--parsable", f"--array={array}", str(job.script)).strip().split(";")[0]


def cancel(numbers: Sequence[str]) -> None:
    """Take arrays out of the queue and end what runs of them."""
    if numbers:
        _call("scancel", *numbers)


def states(numbers: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Look at the tasks of arrays: {"<array>_<task>": (state, node or reason)}, as far as SLURM remembers."""
    found: dict[str, tuple[str, str]] = {}
    if not numbers:
        return found
    _need("squeue")
    for number, state, *_ in _accounting(numbers):
        found[number] = (state.split()[0], "")  # CANCELLED by <user>
    queue = _call("squeue", "-h", "-r", "-u", getpass.getuser(), "-o", "%i|%T|%R")
    for line in queue.splitlines():
        number, state, where = line.split("|", 2)
        if number.partition("_")[0] in numbers:
            found[number] = (state, where.strip("()"))
    return found


def _accounting(numbers: Sequence[str]) -> list[list[str]]:
    """What sacct knows; nothing where the cluster keeps no accounts."""
    if not shutil.which("sacct"):
        return []
    command = ["sacct", "-n", "-X", "-P", "-o", "JobID,State", "-j", ",".join(numbers)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return []
    return (
        [line.split("|") for line in done.stdout.splitlines() if "|" in line] if not done.returncode else []
    )


def _need(program: str) -> None:
    if not shutil.which(program):
        raise InputError(
            f"no {program} on PATH", fix="run this on a login node of the cluster, or take cluster=local"
        )


def _call(*command: str, wait: float = TIMEOUT_SECONDS) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=wait, check=False)
    except subprocess.TimeoutExpired:
        raise InputError(f"{SILENT} within {wait:g} s", where=command[0], fix=RETRY) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        if "Unable to contact slurm controller" in done.stderr:
            raise InputError(SILENT, where=f"{command[0]}: {lines[-1].rpartition('error: ')[2]}", fix=RETRY)
        raise InputError(re.sub(rf"^{command[0]}: (\w+: )?", "", lines[-1]), where=command[0])
    return done.stdout
