"""What the configs of clusters may hold, and the root of `deeprob submit`."""

from __future__ import annotations

from dataclasses import dataclass, field

from deeprob.schema.roots import PathSettings


@dataclass
class ClusterSettings:
    """Where jobs run, and what each task of an array gets.

    scheduler: `slurm`, or `local` for processes on this machine. partition, account, qos, gres, constraint,
    time, memory, tmp: as sbatch takes them, null leaves the cluster's default; cpus: cores of a process.
    require_account: refuse to submit without an account.
    nodes, processes: nodes, and processes on each; null takes trainer.num_nodes and trainer.devices.
    at_a_time: tasks of an array that run together, 0 for no limit.
    requeue: let a task that is preempted, or reaches its time limit, go on later. signal_seconds: how long
    before the limit it is warned; a step of training and a validation must fit in. kill_retries: how often a
    task that was killed (out of memory, say) is queued again.
    mail: address to write to; mail_on: sbatch's --mail-type. options: further options of sbatch.
    modules: what `module load` loads. setup: further shell lines. environment: variables to set, none of them
    a secret. umask: for the files that tasks write, such as "027", null for that of whoever submits.
    python: the interpreter that tasks use, null for the one that submits.
    container: an apptainer image to run in, in place of python; container_options: of `apptainer exec`.
    scratch: a folder for runs and caches where paths.runs_dir and paths.cache_dir are not given.
    """

    scheduler: str = "slurm"
    partition: str | None = None
    account: str | None = None
    require_account: bool = False
    qos: str | None = None
    gres: str | None = None
    constraint: str | None = None
    time: str | None = None
    memory: str | None = None
    tmp: str | None = None
    cpus: int = 4
    nodes: int | None = None
    processes: int | None = None
    at_a_time: int = 0
    requeue: bool = True
    signal_seconds: int = 120
    kill_retries: int = 3
    mail: str | None = None
    mail_on: str = "END,FAIL"
    options: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    umask: str | None = None
    python: str | None = None
    container: str | None = None
    container_options: list[str] = field(default_factory=lambda: ["--nv"])
    scratch: str | None = None


@dataclass
class SubmitConfig:
    """Root of `deeprob submit`: its own keys; every other key belongs to the verb that is submitted.

    workers: of `submit sweep`, tasks that share one study. dry_run: write the job, do not submit it.
    job: of status, cancel and resubmit: a job's name or the scheduler's number, `all`, null for the newest.
    """

    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    paths: PathSettings = field(default_factory=PathSettings)
    workers: int = 1
    dry_run: bool = False
    job: str | None = None
