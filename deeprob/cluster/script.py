"""The script that a scheduler runs, from a template that a human reads."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from deeprob.cluster.job import Job
from deeprob.errors import InputError
from deeprob.writing import write_text


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
        umask=cluster.umask,
        modules=[shlex.quote(module) for module in cluster.modules],
        setup=cluster.setup,
        environment={name: shlex.quote(value) for name, value in cluster.environment.items()},
        cpus=cluster.cpus,
        launch=_launch(cluster),
        requeue=slurm and cluster.requeue,
        kill_retries=cluster.kill_retries,
    )
    write_text(job.script, re.sub(r"\n{3,}", "\n\n", text))


def check(cluster: DictConfig) -> None:
    """Raise InputError for what no script can be made of, before anything is written."""
    if cluster.scheduler not in ("slurm", "local"):
        raise InputError(f"cluster.scheduler is {cluster.scheduler!r}", expected="slurm or local")
    for key, value in cluster.items():
        lines = [value] if isinstance(value, str) else [] if key == "setup" else _texts(value)
        if any("\n" in line for line in lines):
            raise InputError("a line break", where=f"cluster.{key!s}", expected="one line")
    for name in map(str, cluster.environment):
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise InputError(f"{name!r} is no name of a variable", where="cluster.environment")
        if secret(name, str(cluster.environment[name])):
            raise InputError(
                f"{name} would be written into the job's script",
                where="cluster.environment",
                fix=f"export {name} before submitting: the scheduler hands your environment on",
            )
    for key in ("setup", "options"):
        for name, value in re.findall(r"([A-Za-z_]\w*)=([^\s,;=]*)", "\n".join(map(str, cluster[key]))):
            if secret(name, value):
                raise InputError(
                    f"{name} would be written into the job's script",
                    where=f"cluster.{key}",
                    fix=f"export {name} before submitting, or read it from a file: {name}=$(cat ...)",
                )
    if cluster.umask is not None and not re.fullmatch(r"0?[0-7]{3}", cluster.umask):
        raise InputError(f"cluster.umask is {cluster.umask!r}", expected="such as '027'")
    image = cluster.container
    if image and "://" not in image and not Path(image).exists():
        raise InputError("no such image", where=image, fix="apptainer build it from docker/apptainer.def")
    check_time(cluster)


_SECRET_WORDS = re.compile(
    r"(.*(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PWD)|(SSH|DB|SMTP|FTP|USER)?PASS|PASSPHRASE|PAT|CREDS?|COOKIE"
    r"|AUTH|DSN|WEBHOOK)S?\d*|CREDENTIALS?"
)
_SECRET_VALUES = re.compile(  # as those who give them out begin them
    r"gh[opsu]_|github_pat_|glpat-|sk-|hf_|AKIA|ASIA|xox[abp]-|eyJ|Bearer\b"
    r"|\w+://[^/@:]+:[^/@]+@|https://hooks\.slack\.com/|https://\w{16,}@"
)


def secret(name: str, value: str) -> bool:
    """Whether a variable holds something that must not be written down, by its name or by its value.

    The path of a file, and what the shell looks up ($...), is none.
    """
    value = value.strip("'\"")
    if value.startswith(("/", "~", "./", "$", "`")):
        return False
    words = [word for word in name.upper().split("_") if word and not word.isdigit()]
    named = any(_SECRET_WORDS.fullmatch(word) for word in words) and words not in (["PWD"], ["OLDPWD"])
    return named or _SECRET_VALUES.match(value) is not None


def _texts(value: object) -> list[str]:
    """The texts in a list or mapping of a config."""
    if isinstance(value, DictConfig):
        return [str(text) for text in value.values()]
    return [str(text) for text in value] if isinstance(value, ListConfig) else []


def _launch(cluster: DictConfig) -> str:
    """What stands before `deeprob`'s arguments. srun: only what it starts gets the signal before the end."""
    srun = (
        # --wait=0: the first of several processes evaluates when the others have long ended
        f"srun --cpus-per-task={cluster.cpus} --kill-on-bad-exit --wait=0 "
        if cluster.scheduler == "slurm"
        else ""
    )
    if cluster.container:
        bind = ["--bind", cluster.scratch] if cluster.scratch else []
        inside = shlex.join(["apptainer", "exec", *bind, *cluster.container_options, cluster.container])
        return f"{srun}{inside} deeprob"
    return f"{srun}{shlex.quote(cluster.python or sys.executable)} -m deeprob"


def options(job: Job, cluster: DictConfig, shape: tuple[int, int]) -> list[str]:
    """The options of sbatch, one a line."""
    nodes, processes = shape
    limit = f"%{cluster.at_a_time}" if cluster.at_a_time else ""
    wanted: Mapping[str, object] = {
        "job-name": job.name,
        "array": f"0-{len(job.tasks) - 1}{limit}",
        "output": str(job.folder / "logs").replace("%", "%%") + "/%a.log",
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
    lines = [f"--{name}={_quoted(str(value))}" for name, value in wanted.items() if value is not None]
    if cluster.requeue:
        lines += ["--requeue", f"--signal=SIGUSR1@{cluster.signal_seconds}"]
    else:
        lines.append("--no-requeue")
    return [*lines, *cluster.options]


def _quoted(value: str) -> str:
    """A value as sbatch reads it in a script, where spaces divide and # begins a comment."""
    if not re.search(r"""[\s"'#\\]""", value):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


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
