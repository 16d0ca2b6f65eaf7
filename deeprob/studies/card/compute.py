"""Facts about the network and its cost for the card: counted, timed on this machine, and scaled to others."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.graphs.network import HEADER, draw_network, rows
from deeprob.graphs.trace import Trace, trace
from deeprob.training.experiment import make_model, make_task, parts_on
from deeprob.training.fit import Fitted
from deeprob.training.lightning_data import LightningData

WARM_UP = 2  # steps that are not timed: memory is laid out, code is compiled
TRACED = 8  # samples of the traced batch
OTHER_MEMORY = 600 * 2**20  # the process with its libraries, before any data or network; measured on Linux


@dataclass(frozen=True)
class NetworkFacts:
    """parameters; flops of one sample forward; saved_bytes for backward of one sample; drawing: SVG."""

    kind: str
    parameters: int
    trained: int
    flops: int
    saved_bytes: int
    header: tuple[str, ...]
    layers: list[list[str]]
    drawing: str


@dataclass(frozen=True)
class ComputeFacts:
    """A training predicted from a few of its steps.

    timed_steps: how many were timed on `device`. step_seconds: one of them. epochs, steps: of the whole.
    seconds: of all steps, validation left out. memory_bytes: network, gradients, optimiser, what is saved for
    backward, the training images, and the process itself. checkpoint_bytes: of the two that a run keeps.
    """

    device: str
    timed_steps: int
    step_seconds: float
    samples_per_second: float
    epochs: int
    steps: int
    seconds: float
    memory_bytes: int
    checkpoint_bytes: int


def network_facts(cfg: DictConfig, data: PerceptionData) -> NetworkFacts:
    """Run the network once on training samples, forward and backward, and count. Raises InputError.

    Of a model that is fitted without a gradient nothing can be counted before.
    """
    torch.manual_seed(cfg.seed)
    model = make_model(cfg, make_task(cfg, data))
    if isinstance(model, Fitted):
        return NetworkFacts(str(cfg.model._target_).rpartition(".")[2], 0, 0, 0, 0, (), [], "")
    batch = next(iter(data.loader("train")))[0][:TRACED]
    found: Trace = trace(model, batch)
    shown = [name for name in HEADER if name not in ("‖y‖", "‖dy‖", "what is wrong")]
    samples = len(batch)
    return NetworkFacts(
        kind=str(cfg.model._target_).rpartition(".")[2],
        parameters=sum(p.numel() for p in model.parameters()),
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        flops=sum(layer.flops for layer in found.layers) // samples,
        saved_bytes=sum(layer.saved_bytes for layer in found.layers) // samples,
        header=tuple(shown),
        layers=[row[: len(shown)] for row in rows(found)],
        drawing=draw_network(found, f"{cfg.name}: {str(cfg.model._target_).rpartition('.')[2]}"),
    )


def compute_facts(
    cfg: DictConfig, data: PerceptionData, network: NetworkFacts, seconds: float
) -> ComputeFacts | None:
    """Train for a few seconds as the config says, in no folder, and scale that to the whole training.

    None for a model that is fitted without a gradient: it has no steps to time.
    """
    if not network.layers:
        return None
    pl.seed_everything(cfg.seed, verbose=False)
    if cfg.trainer.threads:
        torch.set_num_threads(cfg.trainer.threads)
    module = parts_on(cfg, data).module()
    clock = _Clock(seconds)
    with _quiet():
        trainer = pl.Trainer(
            max_epochs=cfg.trainer.max_epochs,
            accelerator=cfg.trainer.accelerator,
            devices=1,
            precision=cfg.trainer.precision,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[clock],
        )
        trainer.fit(module, datamodule=LightningData(data))
    steps = len(data.train_dataloader()) * int(cfg.trainer.max_epochs)
    state = sum(
        value.numel() * value.element_size()
        for of_parameter in module.trainer.optimizers[0].state.values()
        for value in of_parameter.values()
        if isinstance(value, torch.Tensor)
    )
    weights = 4 * network.parameters
    pixels = data.split("train").pixels
    in_memory = 0 if pixels is None else pixels.nbytes
    return ComputeFacts(
        device=str(trainer.strategy.root_device),
        timed_steps=clock.steps,
        step_seconds=clock.step_seconds,
        samples_per_second=int(cfg.data.batch_size) / clock.step_seconds,
        epochs=int(cfg.trainer.max_epochs),
        steps=steps,
        seconds=steps * clock.step_seconds,
        memory_bytes=2 * weights
        + state
        + int(cfg.data.batch_size) * network.saved_bytes
        + in_memory
        + OTHER_MEMORY,
        checkpoint_bytes=2 * (weights + state),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's remarks on hardware and logging to itself: nothing is logged here."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def on_target(
    target: Mapping[str, Any], compute: ComputeFacts, data_bytes: int | None
) -> dict[str, str | bool | None]:
    """What a training costs on another machine: its time, whether memory and disk hold it; None: unknown."""
    memory, disk, speed = target.get("memory_gb"), target.get("disk_gb"), target.get("speed")
    needed = compute.checkpoint_bytes + (data_bytes or 0)
    return {
        "time": duration(compute.seconds / float(speed)) if speed else None,
        "memory_fits": compute.memory_bytes <= float(memory) * 1e9 if memory is not None else None,
        "disk_fits": needed <= float(disk) * 1e9 if disk is not None else None,
    }


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class _Clock(pl.Callback):
    """Times training steps, loading included, and stops the training when it has enough of them."""

    def __init__(self, seconds: float) -> None:
        self._budget = seconds
        self._seen = 0
        self._start = time.monotonic()
        self._last = self._start

    @property
    def steps(self) -> int:
        """How many steps were timed."""
        return max(self._seen - WARM_UP, 1)

    @property
    def step_seconds(self) -> float:
        return (self._last - self._start) / self.steps

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._seen += 1
        self._last = time.monotonic()
        if self._seen == WARM_UP:
            self._start = self._last
        if self._seen > WARM_UP and self._last - self._start >= self._budget:
            trainer.should_stop = True
