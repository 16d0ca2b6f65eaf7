"""Several processes that train together: who is who, and how one command starts them all.

A process finds its place in what a launcher left in its environment: `torchrun`, SLURM's `srun`, or `launch`
below, which is torchrun for one machine without its command line.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import Signals
from typing import Any

import torch
from omegaconf import DictConfig

from deeprob.errors import InputError
from deeprob.overrides import quoted
from deeprob.runs import Run
from deeprob.schema.training import TrainerSettings
from deeprob.targets import admitted
from deeprob.tasks.base import Meter
from deeprob.training import signals

ENDING = ("SIGINT", "SIGHUP", "SIGQUIT")  # what ends a launcher; SIGTERM too, unless it is a warning


def world_size(trainer: TrainerSettings) -> int:
    """The number of processes that train together."""
    return int(trainer.devices) * int(trainer.num_nodes)


def rank(trainer: TrainerSettings) -> int:
    """The number of this process among them; 0 writes the run folder."""
    if world_size(trainer) == 1:  # also of a worker in a SLURM step of many, each with a training of its own
        return 0
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)


def must_launch(trainer: TrainerSettings) -> bool:
    """Whether a training asks for several processes and this one was started alone.

    Raises InputError where they are to be on several machines, which only a cluster's launcher reaches, or
    are more than this one has cores.
    """
    started = int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)
    if world_size(trainer) == 1 or "TORCHELASTIC_RUN_ID" in os.environ or started == world_size(trainer):
        return False
    if trainer.num_nodes > 1:
        raise InputError(
            f"trainer.num_nodes={trainer.num_nodes}, but this process was started alone",
            fix=f"start it by srun with --nodes={trainer.num_nodes} "
            f"--ntasks-per-node={trainer.devices}, or by torchrun",
        )
    most = max(2, len(os.sched_getaffinity(0)))  # two share a core where there is but one
    if trainer.devices > most:
        raise InputError(
            f"trainer.devices={trainer.devices} processes for {most} cores", expected=f"at most {most}"
        )
    return True


def launch(cfg: DictConfig, run: Run, changes: Sequence[str] = ()) -> int:
    """Go on with `run` in as many processes of this machine as the config says; wait for them.

    Its config.yaml must be written; changes: overrides that it does not hold yet. The processes but the first
    print nothing, unless one of them is the first to fail. Returns the exit code: 0, or that of the process
    that failed first.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    processes = int(cfg.trainer.devices)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # it tells failures at length
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
    kept = [change for change in changes if not change.startswith("allowed_targets=")]
    arguments = ["-m", "deeprob", "train", f"run={quoted(run.path)}", *kept]
    allowed = admitted(cfg)
    if allowed:
        arguments.append(f"allowed_targets=[{','.join(allowed)}]")
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            signals_to_handle=",".join(ENDING if signals.watching() else ("SIGTERM", *ENDING)),
            logs_specs=DefaultLogsSpecs(log_dir=logs, redirects={r: Std.ALL for r in range(1, processes)}),
        )
        signals.pass_on()
        try:
            with signals.held():  # the processes save before this one leaves
                elastic_launch(config, sys.executable)(*arguments)
        except ChildFailedError as error:
            first, failure = error.get_first_failure()
            of_main = error.failures.get(0)
            if of_main is None or of_main.exitcode < 0:  # the first process was stopped before it could tell
                _show_error(Path(logs), first)
            if failure.exitcode < 0:  # what the others say is then only that they miss it
                print(f"process {first} was ended by {Signals(-failure.exitcode).name}", file=sys.stderr)
            return failure.exitcode if failure.exitcode > 0 else 1
        except SignalException:
            raise KeyboardInterrupt from None
    return 0


def _show_error(logs: Path, local_rank: int) -> None:
    for file in sorted(logs.glob(f"**/{local_rank}/stderr.log")):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        print(*lines[-3:], sep="\n", file=sys.stderr)


@contextlib.contextmanager
def one_at_a_time(run: Run) -> Iterator[None]:
    """Let the processes through one after the other: the first makes what the others find made."""
    with open(run.path / ".prepare.lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def process_options(trainer: TrainerSettings) -> dict[str, Any]:
    """What Lightning's Trainer has to know of the processes."""
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.pytorch.strategies import DDPStrategy

    options: dict[str, Any] = {
        "accelerator": trainer.accelerator,
        "devices": trainer.devices,
        "num_nodes": trainer.num_nodes,
        "use_distributed_sampler": False,  # the loader divides the samples itself
    }
    if world_size(trainer) > 1:
        options["strategy"] = DDPStrategy(gradient_as_bucket_view=True)
    elif int(os.environ.get("SLURM_NTASKS", 1)) > 1:
        options["plugins"] = [LightningEnvironment()]  # a training of its own among the step's tasks
    return options


def synchronise_batch_norm(model: torch.nn.Module) -> torch.nn.Module:
    """The model with batch norms that see the batches of all processes; names and parameters stay.

    Raises InputError where the model has a batch norm of another kind.
    """
    from deeprob.layers.sync_batch_norm import convert

    model = convert(model)
    for name, module in model.named_modules():
        if getattr(module, "running_mean", None) is not None and "Sync" not in type(module).__name__:
            raise InputError(
                f"trainer.sync_batch_norm: {name} is a {type(module).__name__}, which has no such form",
                fix="set model.fused=false, or leave it local",
            )
    return model


def merged(meter: Meter | None, processes: int) -> Meter:
    """The meter of all processes, in the order of their ranks. One of them at least has samples."""
    if processes == 1:
        assert meter is not None
        return meter
    gathered: list[Meter | None] = [None] * processes
    torch.distributed.all_gather_object(gathered, meter)
    first, *others = [of for of in gathered if of is not None]
    for other in others:
        first.merge(other)
    return first
