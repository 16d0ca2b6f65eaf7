"""A SLURM of one node for tests: by hand, without systemd or cgroups, nothing written outside a folder."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
CPUS = 8  # said to be there, so that an array of four runs at once on any machine

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={controller}
SlurmdPort={node}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
JobRequeue=1
KillWait=2
MinJobAge=300
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE DefaultTime=10:00 State=UP GraceTime=20
PartitionName=urgent Nodes={host} MaxTime=INFINITE DefaultTime=10:00 State=UP PriorityTier=10 PreemptMode=OFF
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory):
    """Start SLURM; the test is skipped, saying so, where it is not installed or may not be started."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        pytest.skip(f"no {missing[0]} here: apt-get install slurmctld slurmd slurm-client munge")
    if os.getuid() != 0:
        pytest.skip("slurmd needs root")
    host = socket.gethostname().partition(".")[0]
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "state").mkdir(mode=0o700)
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    config = folder / "slurm.conf"
    config.write_text(
        CONFIG.format(folder=folder, host=host, cpus=CPUS, controller=free_port(), node=free_port())
    )
    environment = {"SLURM_CONF": str(config)}
    munge = [f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("socket", "pid-file", "log-file")]
    munge += [
        f"--key-file={key}",
        f"--seed-file={folder}/munge.seed",
        "--force",
    ]  # the folder is closed to others
    for command in (["munged", *munge], ["slurmctld"], ["slurmd"]):
        subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
    try:
        wait_until(lambda: said("sinfo", "-h", "-o", "%T", env=environment) == "idle", 30)
        yield environment
    finally:
        said("scancel", "-u", "root", env=environment)
        wait_until(lambda: not said("squeue", "-h", env=environment), 30)  # else its daemons ask for ever
        for name in ("slurmd.pid", "slurmctld.pid", "munge.pid"):
            stop(folder / name)


def stop(pid_file):
    """End the process that wrote the file, and wait for it."""
    if pid_file.is_file():
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), 30)


def said(*command, env=None):
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **(env or {})}, check=False
    )
    return done.stdout.strip()


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.3)


class Slurm:
    """SLURM's commands, and patience."""

    said = staticmethod(said)
    wait_until = staticmethod(wait_until)


@pytest.fixture
def slurm(scheduler, monkeypatch):
    """A running scheduler that SLURM's commands find, here and in what a test starts."""
    for name, value in scheduler.items():
        monkeypatch.setenv(name, value)
    return Slurm
