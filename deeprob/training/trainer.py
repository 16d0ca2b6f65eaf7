"""The Lightning trainer of a training."""

from __future__ import annotations

import sys
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar

from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.schema.training import TrainerSettings
from deeprob.training.averaging import MovingAverage
from deeprob.training.callbacks import AtomicCheckpointIO, Cost, EpochLines, RandomState
from deeprob.training.changes import check_fits
from deeprob.training.distributed import process_options, rank
from deeprob.training.experiment import Checkpoint, newest_checkpoint
from deeprob.training.loggers import JsonlLogger
from deeprob.training.module import PerceptionModule
from deeprob.training.parts import Parts
from deeprob.training.requeue import Requeue
from deeprob.training.weights import load_pretrained

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true")


def start(parts: Parts, run: Run) -> tuple[PerceptionModule, Checkpoint | None]:
    """The module with the weights it starts from, and the checkpoint of `run` that they are of, if any.

    Raises InputError where the checkpoint, or the weights that model.pretrained names, do not fit.
    """
    resume = newest_checkpoint(run)
    if parts.network.pretrained and resume is None:
        report = load_pretrained(parts.model, parts.network.pretrained)
        if rank(parts.trainer) == 0:
            print(f"pretrained  {report}", flush=True)
    module = parts.module()
    if resume is not None:
        check_fits(module, resume)
    return module, resume


def make_trainer(parts: Parts, run: Run, record: JsonlLogger, cost: Cost) -> pl.Trainer:
    """A Lightning trainer that writes into the run folder and nowhere else."""
    trainer, monitor = parts.trainer, parts.monitor
    steps = step_options(trainer)
    on_terminal = sys.stdout.isatty()
    place: dict[str, Any] = {"dirpath": run.checkpoints, "enable_version_counter": False}
    best = ModelCheckpoint(filename="best", monitor=monitor, mode=trainer.mode, **place)
    # Not `save_last`: that writes only in an epoch that was also the best.
    # Where not every epoch is validated, checkpoints would wait for the next that is.
    every = _between_validations(trainer)
    last = ModelCheckpoint(filename="last", save_on_train_epoch_end=every > 1 or None, **place)
    callbacks: list[pl.Callback] = [best, last, RandomState(), cost]
    callbacks.append(RichProgressBar() if on_terminal else EpochLines())
    if trainer.ema:
        callbacks.append(MovingAverage(trainer.ema))
    if trainer.patience:
        callbacks.append(EarlyStopping(monitor, mode=trainer.mode, patience=trainer.patience))
    callbacks += parts.callbacks
    callbacks.append(Requeue(run))  # the last: what the others keep of a step is complete
    loggers = [record, *([parts.logger(run)] if parts.logger is not None else [])]
    return pl.Trainer(
        max_epochs=trainer.max_epochs,
        log_every_n_steps=trainer.log_every,
        check_val_every_n_epoch=every,
        callbacks=callbacks,
        logger=loggers,
        default_root_dir=run.path,
        enable_progress_bar=on_terminal,
        **steps,
    )


def _between_validations(trainer: TrainerSettings) -> int:
    """Epochs from one validation to the next: at most `val_every`, and so that the last one is validated."""
    return max(every for every in range(1, trainer.val_every + 1) if trainer.max_epochs % every == 0)


def step_options(trainer: TrainerSettings) -> dict[str, Any]:
    """What Lightning's Trainer knows of a step: where it runs, and how. Raises InputError for nonsense."""
    for key, sensible, expected in (
        ("accumulate", trainer.accumulate >= 1, "1 or more"),
        ("max_epochs", trainer.max_epochs >= 1, "1 or more"),
        ("val_every", trainer.val_every >= 1, "1 or more"),
        ("ema", 0 <= trainer.ema < 1, "from 0 to below 1"),
        ("precision", trainer.precision in PRECISIONS, " ".join(PRECISIONS)),
        ("accelerator", trainer.accelerator in ACCELERATORS, " ".join(ACCELERATORS)),
        ("devices", trainer.devices >= 1, "1 or more"),
        ("num_nodes", trainer.num_nodes >= 1, "1 or more"),
        ("gradient_clip_val", (trainer.gradient_clip_val or 0) >= 0, "0 or more; null clips nothing"),
        ("patience", trainer.patience >= 0, "0 or more"),
        ("threads", trainer.threads >= 0, "0 or more"),
    ):
        if not sensible:
            raise InputError(f"trainer.{key} is {getattr(trainer, key)}", expected=expected)
    options = process_options(trainer)
    return {
        "precision": trainer.precision,
        "gradient_clip_val": trainer.gradient_clip_val,
        "accumulate_grad_batches": trainer.accumulate,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        **options,
        "plugins": [AtomicCheckpointIO(), *options.get("plugins", [])],
    }
