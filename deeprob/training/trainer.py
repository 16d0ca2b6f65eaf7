"""What a config says of a training, made: Lightning module and Lightning trainer."""

from __future__ import annotations

import sys
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from omegaconf import DictConfig
from torch import nn

from deeprob.config import build
from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.tasks.base import Task
from deeprob.training.averaging import MovingAverage
from deeprob.training.callbacks import AtomicCheckpointIO, Cost, EpochLines, RandomState
from deeprob.training.distributed import process_options, synchronise_batch_norm, world_size
from deeprob.training.experiment import arrange, memory_format_of, monitor_of
from deeprob.training.loggers import JsonlLogger
from deeprob.training.module import PerceptionModule
from deeprob.training.objectives.base import Objective
from deeprob.training.requeue import Requeue
from deeprob.training.weights import freeze

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true")


def make_module(cfg: DictConfig, model: nn.Module, task: Task) -> PerceptionModule:
    """The Lightning module that trains `model` for `task` as the config says.

    Raises InputError for what it cannot.
    """
    objective = make_objective(cfg, task, model)
    model = arrange(model, cfg)
    freeze(model, cfg.model.freeze)
    if cfg.trainer.sync_batch_norm and world_size(cfg) > 1:
        model = synchronise_batch_norm(model)
    if cfg.model.compile:
        # in place: names stay; a graph for each batch size: training has few, and one for all sizes can fail
        model.compile(dynamic=False)
    if cfg.optim.body_lr_factor <= 0:
        raise InputError(
            f"optim.body_lr_factor is {cfg.optim.body_lr_factor}",
            expected="more than 0",
            fix="model.freeze holds weights where they are",
        )
    return PerceptionModule(
        task,
        model,
        objective=objective,
        optimizer=lambda groups: build(cfg.optim.optimizer, cfg.allowed_targets, params=groups),
        schedule=build(cfg.optim.schedule, cfg.allowed_targets),
        decay_norm_and_bias=cfg.optim.decay_norm_and_bias,
        body_lr_factor=cfg.optim.body_lr_factor,
        memory_format=memory_format_of(cfg),
    )


def make_objective(cfg: DictConfig, task: Task, model: nn.Module) -> Objective:
    """The objective, which has told the data what its batches hold."""
    objective: Objective = build(cfg.objective, cfg.allowed_targets)
    objective.attach(task, model)
    data = getattr(task, "data", None)  # a benchmark has none
    if data is not None:
        data.needs_labels = objective.needs_labels
        data.arrange = lambda collate: objective.collate(task, collate)
    return objective


def make_trainer(cfg: DictConfig, run: Run, record: JsonlLogger, cost: Cost) -> pl.Trainer:
    """A Lightning trainer that writes into the run folder and nowhere else."""
    trainer, monitor = cfg.trainer, monitor_of(cfg)
    on_terminal = sys.stdout.isatty()
    place: dict[str, Any] = {"dirpath": run.checkpoints, "enable_version_counter": False}
    best = ModelCheckpoint(filename="best", monitor=monitor, mode=trainer.mode, **place)
    # Not `save_last`: that writes only in an epoch that was also the best.
    last = ModelCheckpoint(filename="last", **place)
    callbacks: list[pl.Callback] = [best, last, RandomState(), cost]
    callbacks.append(RichProgressBar() if on_terminal else EpochLines())
    if trainer.ema:
        callbacks.append(MovingAverage(trainer.ema))
    if trainer.patience:
        callbacks.append(EarlyStopping(monitor, mode=trainer.mode, patience=trainer.patience))
    callbacks += [build(leaf, cfg.allowed_targets) for leaf in (cfg.get("callbacks") or {}).values()]
    callbacks.append(Requeue(run))  # the last: what the others keep of a step is complete
    loggers = [record]
    if cfg.logger is not None:
        loggers.append(_extra_logger(cfg, run))
    return pl.Trainer(
        max_epochs=trainer.max_epochs,
        log_every_n_steps=trainer.log_every,
        callbacks=callbacks,
        logger=loggers,
        default_root_dir=run.path,
        enable_progress_bar=on_terminal,
        **step_options(cfg),
    )


def step_options(cfg: DictConfig) -> dict[str, Any]:
    """What Lightning's Trainer knows of a step: where it runs, and how. Raises InputError for nonsense."""
    trainer = cfg.trainer
    for key, sensible, expected in (
        ("accumulate", trainer.accumulate >= 1, "1 or more"),
        ("ema", 0 <= trainer.ema < 1, "from 0 to below 1"),
        ("precision", trainer.precision in PRECISIONS, " ".join(PRECISIONS)),
    ):
        if not sensible:
            raise InputError(f"trainer.{key} is {trainer[key]}", expected=expected)
    options = process_options(cfg)
    return {
        "precision": trainer.precision,
        "gradient_clip_val": trainer.gradient_clip_val,
        "accumulate_grad_batches": trainer.accumulate,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        **options,
        "plugins": [AtomicCheckpointIO(), *options.get("plugins", [])],
    }


def _extra_logger(cfg: DictConfig, run: Run) -> Any:
    target = str(cfg.logger._target_)
    extra: dict[str, Any] = {"save_dir": str(run.path)}
    if target.endswith("WandbLogger"):
        extra |= {"id": f"{run.experiment}-{run.run_id}", "name": run.run_id}  # the same after a requeue
    try:
        return build(cfg.logger, cfg.allowed_targets, **extra)
    except ModuleNotFoundError as error:
        package = str(error).split("`")[1] if "`" in str(error) else str(error.name)
        raise InputError(
            f"{target.rpartition('.')[2]} needs {package}", fix="pip install 'deeprob[tensorboard]'"
        ) from error
