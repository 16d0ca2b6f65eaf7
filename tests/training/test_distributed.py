"""Two processes on this machine, through the real command line, against one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.training import signals
from deeprob.training.distributed import (
    must_launch,
    process_options,
    rank,
    synchronise_batch_norm,
    world_size,
)
from deeprob.training.experiment import newest_checkpoint

EQUAL = [
    "evaluation.bootstrap_samples=100",
    "data.augmentation.translate=0",
    "data.augmentation.noise=0",
    "model.dropout=0",
]
TWO = ["trainer=ddp", "trainer.devices=2", "trainer.sync_batch_norm=true", "data.batch_size=8"]


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def command(squares_overrides):
    """Run `deeprob train` in a process of its own: run id and overrides -> exit code, error, run."""

    def run(run_id, *overrides):
        arguments = [f"run=runs/squares/{run_id}"] if "go on" in overrides else squares_overrides
        done = subprocess.run(
            [sys.executable, "-m", "deeprob", "train", *arguments, *(o for o in overrides if o != "go on")],
            env={**os.environ, "DEEPROB_RUN_ID": run_id, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return done.returncode, done.stderr, Run(Path("runs/squares", run_id).absolute())

    return run


def test_a_config_for_one_process_starts_no_other(squares_config, monkeypatch):
    cfg = squares_config()
    assert (world_size(cfg.trainer), rank(cfg.trainer), must_launch(cfg.trainer)) == (1, 0, False)
    monkeypatch.setenv("SLURM_NTASKS", "4")  # a worker of a sweep: four trainings side by side
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert (rank(cfg.trainer), must_launch(cfg.trainer)) == (0, False)
    assert type(process_options(cfg.trainer)["plugins"][0]).__name__ == "LightningEnvironment"


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "RANK": "2"}, 2),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "3"}, 3),
    ],
)
def test_a_launched_process_knows_its_place(squares_config, monkeypatch, environment, place):
    cfg = squares_config("trainer=ddp", "trainer.devices=2", "trainer.num_nodes=2")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (world_size(cfg.trainer), rank(cfg.trainer), must_launch(cfg.trainer)) == (4, place, False)
    assert type(process_options(cfg.trainer)["strategy"]).__name__ == "DDPStrategy"


def test_one_command_starts_the_processes_of_one_machine_only(squares_config):
    assert must_launch(squares_config("trainer=ddp").trainer)
    with pytest.raises(InputError, match=r"num_nodes=2, .* --nodes=2 --ntasks-per-node=2, or by torchrun"):
        must_launch(squares_config("trainer=ddp", "trainer.num_nodes=2").trainer)


def test_more_processes_than_cores_are_refused(squares_config, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4))
    assert must_launch(squares_config("trainer=ddp", "trainer.devices=4").trainer)
    with pytest.raises(InputError, match=r"trainer.devices=99 processes for 4 cores"):
        must_launch(squares_config("trainer=ddp", "trainer.devices=99").trainer)


def test_a_batch_norm_without_a_synchronised_form_is_named():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.InstanceNorm1d(2, track_running_stats=True))
    with pytest.raises(InputError, match="sync_batch_norm: 1 is a InstanceNorm1d"):
        synchronise_batch_norm(model)


@pytest.mark.slow
def test_two_processes_are_one_training(command, weights, losses):
    code, error, one = command("one", *EQUAL)
    assert code == 0, error
    code, error, two = command("two", *EQUAL, *TWO)
    assert code == 0, error
    np.testing.assert_allclose(losses(two), losses(one), rtol=1e-5, atol=1e-5)
    assert len(losses(one)) == 12
    for a, b in zip(one.read_metrics(), two.read_metrics(), strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5)
    assert sorted(p.name for p in two.path.iterdir()) == sorted(p.name for p in one.path.iterdir())
    results = [json.loads(run.results().read_text())["metrics"]["top1_accuracy"] for run in (one, two)]
    assert results[0] == results[1]
    # each goes on from the other's checkpoint
    code, error, _ = command("one", "go on", "trainer.max_epochs=4", "trainer.devices=2", *TWO[2:])
    assert code == 0, error
    code, error, _ = command(
        "two", "go on", "trainer.max_epochs=4", "trainer.devices=1", "data.batch_size=16"
    )
    assert code == 0, error
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(two)[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_what_goes_wrong_in_the_processes_is_said_with_its_exit_code(command):
    code, error, _ = command("a", *TWO, "data.val_fraction=0.2")
    assert code == 2
    assert "has its own split 'val'" in error
    code, error, run = command("b", *TWO, "optim.optimizer.lr=1e30", "model.norm=false")
    assert code == 1
    assert "is not finite" in error
    assert "Traceback" not in error
    assert run.error.is_file()


# Tells the launcher alone, in the middle of the second epoch, and waits until it has told this process.
WARN = """
import os, signal
from pathlib import Path
from lightning.pytorch import Callback
from deeprob.training import signals

class Warn(Callback):
    def on_before_optimizer_step(self, trainer, *_):
        if trainer.global_step == 5 and trainer.global_rank == 1 and not Path("warned").exists():
            Path("warned").touch()
            os.kill(os.getppid(), signal.SIGTERM)  # which it takes for SIGUSR1
            assert signals._came.wait(60)
"""


@pytest.mark.slow
def test_a_launcher_that_is_warned_leaves_when_its_processes_have_saved(
    command, weights, tmp_path, monkeypatch
):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "warn.py").write_text(WARN)
    own = ["allowed_targets=[warn]", "+callbacks.warn={_target_: warn.Warn}"]
    overrides = [*TWO[:2], "data.batch_size=8", "trainer.max_epochs=2", *EQUAL[:1]]
    code, error, cut = command("cut", *overrides, *own)
    assert code == signals.LEAVE, error
    saved = newest_checkpoint(cut)
    assert saved.step == 6
    sums = torch.load(saved.path, weights_only=True)["train_totals"]
    assert sums[:, 2].tolist() == [16.0, 16.0]  # two steps of eight samples, in each process
    assert sums[0, 0] != sums[1, 0]
    code, error, cut = command("cut", *overrides, *own)
    assert code == 0, error
    code, error, whole = command("whole", *overrides)
    assert code == 0, error
    assert cut.read_metrics() == whole.read_metrics()
    a, b = weights(whole), weights(cut)
    assert not [key for key in a if not torch.equal(a[key], b[key])]
    assert cut.read_results()["metrics"] == whole.read_results()["metrics"]
