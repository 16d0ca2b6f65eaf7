"""A training that the scheduler warns, at any moment, goes on where it was and ends as if it had not been."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from deeprob.runs import Run
from deeprob.training import signals
from deeprob.training.experiment import newest_checkpoint, read_config
from deeprob.training.run import train_run

# Trains as `deeprob train` does, and warns itself at a given step.
WARNED = """
import os, signal, sys
from pathlib import Path
from deeprob.training.signals import watch
watch()
from lightning.pytorch import Callback
from omegaconf import OmegaConf
from deeprob.runs import Run
from deeprob.training import run, signals

class Warn(Callback):
    def on_before_optimizer_step(self, trainer, *_):  # in the middle of a step
        if trainer.global_step == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGUSR1)
            signals._came.wait()

    def on_exception(self, trainer, module, exception):  # as a logger does whose service the signal stopped
        raise ConnectionResetError("Connection lost")

run.train_run(OmegaConf.load(sys.argv[1]), Run(Path(sys.argv[2])), [], [Warn()])
"""
PER_EPOCH = 72 // 16


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """The variables of a step of a job, and a stand-in for scontrol that notes how it was called."""
    for name, value in {
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURM_NODELIST": "localhost",
    }.items():
        monkeypatch.setenv(name, value)
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/scontrol.txt\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    return tmp_path / "scontrol.txt"


@pytest.fixture
def attempt(tmp_path, squares_config):
    """Train the squares in a process of its own, warned at a step; return its exit code and what it said."""
    cfg = squares_config("trainer.max_epochs=3")
    OmegaConf.save(cfg, tmp_path / "config.yaml", resolve=True)

    def run(path, step):
        path.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", WARNED, str(tmp_path / "config.yaml"), str(path), str(step)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    return run


def weights(run):
    return torch.load(run.checkpoint("last"), weights_only=True)["state_dict"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(PER_EPOCH + 1, id="mid-epoch"),
        pytest.param(2 * PER_EPOCH - 1, id="last step of an epoch"),
    ],
)
def test_a_requeued_training_ends_with_the_same_weights_and_the_same_metrics(tmp_path, slurm, attempt, step):
    whole, cut = Run(tmp_path / "runs/squares/whole"), Run(tmp_path / "runs/squares/cut")
    whole.path.mkdir(parents=True)
    train_run(read_config(Run(tmp_path)), whole, [])
    code, said = attempt(cut.path, step)
    assert code == signals.LEAVE, said
    mid_epoch = (step + 1) % PER_EPOCH != 0
    assert slurm.exists() == mid_epoch  # between two epochs the job script requeues
    assert newest_checkpoint(cut).step == step + 1
    train_run(read_config(Run(tmp_path)), cut, [])
    assert cut.read_metrics() == whole.read_metrics()
    a, b = weights(whole), weights(cut)
    assert not [name for name in a if not torch.equal(a[name], b[name])]
    assert not cut.requeue_checkpoints
    starts = [json.loads(line) for line in cut.attempts.read_text().splitlines()]
    assert [start["step"] for start in starts] == [0, step + 1]
    assert starts[0]["total_steps"] == 3 * PER_EPOCH


def test_the_newer_of_two_checkpoints_is_taken_up(tmp_path):
    run = Run(tmp_path)
    assert newest_checkpoint(run) is None
    run.checkpoints.mkdir()
    for path, step in ((run.checkpoint("last"), 8), (tmp_path / "hpc_ckpt_1.ckpt", 11)):
        torch.save({"state_dict": {}, "global_step": step}, path)
    assert newest_checkpoint(run).path.name == "hpc_ckpt_1.ckpt"
    torch.save({"state_dict": {}, "global_step": 12}, run.checkpoint("last"))
    assert newest_checkpoint(run).path.name == "last.ckpt"


WATCHING = """
import signal, subprocess, sys, time
from deeprob.training.signals import watch
watch()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("warning", [signal.SIGUSR1, signal.SIGTERM])
def test_outside_the_training_loop_a_warning_ends_the_process_at_once(slurm, warning):
    process = subprocess.Popen([sys.executable, "-c", WATCHING], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    try:
        process.send_signal(warning)
        assert process.wait(30) == signals.LEAVE
    finally:
        process.kill()
        os.kill(child, signal.SIGKILL)


def test_children_do_not_die_of_the_warning(slurm):
    process = subprocess.Popen([sys.executable, "-c", WATCHING], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    try:
        os.kill(child, signal.SIGUSR1)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        assert " Z " not in Path(f"/proc/{child}/stat").read_text()
    finally:
        os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()


FORKING = """
import os, signal, sys, time
from deeprob.training.signals import watch
watch()
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.write(writing, b"!")  # Python drops what comes before the fork is done
    time.sleep(60)
    os._exit(0)
os.read(reading, 1)
os.kill(child, signal.SIGTERM)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGTERM)
"""


def test_a_fork_that_its_parent_ends_takes_it_for_no_warning(slurm):
    subprocess.run([sys.executable, "-c", FORKING], check=True, timeout=30)


PASSING_ON = """
import signal, subprocess, sys, time
from deeprob.training import signals
signals.watch()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
signals.pass_on()
print("ready", flush=True)
with signals.held():
    sys.exit(child.wait())
"""


def test_a_parent_that_is_warned_alone_tells_its_children_and_waits_for_them(slurm):
    saving = (
        "from deeprob.training import signals; import time; signals.watch()\n"
        "with signals.held():\n"
        "    print('in', flush=True)\n    assert signals._came.wait(30)\n    time.sleep(0.5)"
    )
    process = subprocess.Popen([sys.executable, "-c", PASSING_ON, saving], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(30) == signals.LEAVE
    finally:
        process.kill()


def test_outside_a_job_nothing_is_blocked(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])  # whatever another test left
    signals.watch()
    assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_warning_that_the_loop_did_not_act_on_is_acted_on_after_it(monkeypatch):
    came = threading.Event()
    monkeypatch.setattr(signals, "_came", came)
    with signals.held():
        assert not signals.warned()
    with pytest.raises(signals.Requeued) as leaving, signals.held():
        came.set()
    assert leaving.value.code == signals.LEAVE
