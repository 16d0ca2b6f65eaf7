"""What a config describes, made: data, model, Lightning module, Lightning trainer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from omegaconf import DictConfig, OmegaConf
from torch import nn

from deeprob.config import build
from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.relabel import RelabelledSource
from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.schema.models import NETWORK_OPTIONS
from deeprob.training.averaging import MovingAverage
from deeprob.training.callbacks import AtomicCheckpointIO, Cost, EpochLines, RandomState
from deeprob.training.distributed import process_options, synchronise_batch_norm, world_size
from deeprob.training.fit import lent_network
from deeprob.training.loggers import JsonlLogger
from deeprob.training.module import PerceptionModule
from deeprob.training.requeue import Requeue
from deeprob.training.weights import freeze

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true")


def make_data(cfg: DictConfig) -> PerceptionData:
    """The data module of a config; nothing is read or rendered yet."""
    data = cfg.data
    source = build(data.source, cfg.allowed_targets)
    if data.label_map:
        source = RelabelledSource(source, data.label_map)
    view = build(data.view, cfg.allowed_targets)
    return PerceptionData(
        source=source,
        view=view,
        augmentation=view.augmentation(**OmegaConf.to_container(data.augmentation)),  # type: ignore[arg-type]
        batch_size=data.batch_size,
        eval_batch_size=data.eval_batch_size,
        num_workers=data.workers,
        seed=cfg.seed,
        cache_dir=Path(cfg.paths.cache_dir).expanduser() / "crops",
        val_fraction=data.val_fraction,
        num_folds=data.num_folds,
        fold=data.fold,
        balanced=data.balanced,
        memory_budget_gb=data.get("memory_budget_gb", 8.0),  # a run of an older version lacks it
        progress=sys.stdout.isatty(),
    )


def make_model(cfg: DictConfig, data: PerceptionData) -> nn.Module:
    """The model of a config, with as many outputs as the data has classes."""
    arguments = {key: value for key, value in cfg.model.items() if key not in NETWORK_OPTIONS}
    lent = lent_network(cfg)
    model: nn.Module = build(arguments, cfg.allowed_targets, num_classes=len(data.classes), **lent)
    return model


def make_module(cfg: DictConfig, model: nn.Module) -> PerceptionModule:
    """The Lightning module that trains `model` as the config says. Raises InputError for what it cannot."""
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
        model,
        objective=build(cfg.objective, cfg.allowed_targets),
        optimizer=lambda groups: build(cfg.optim.optimizer, cfg.allowed_targets, params=groups),
        schedule=build(cfg.optim.schedule, cfg.allowed_targets),
        decay_norm_and_bias=cfg.optim.decay_norm_and_bias,
        body_lr_factor=cfg.optim.body_lr_factor,
        memory_format=memory_format_of(cfg),
    )


def make_trainer(cfg: DictConfig, run: Run, record: JsonlLogger, cost: Cost) -> pl.Trainer:
    """A Lightning trainer that writes into the run folder and nowhere else."""
    trainer = cfg.trainer
    on_terminal = sys.stdout.isatty()
    place: dict[str, Any] = {"dirpath": run.checkpoints, "enable_version_counter": False}
    best = ModelCheckpoint(filename="best", monitor=trainer.monitor, mode=trainer.mode, **place)
    # Not `save_last`: that writes only in an epoch that was also the best.
    last = ModelCheckpoint(filename="last", **place)
    callbacks: list[pl.Callback] = [best, last, RandomState(), cost]
    callbacks.append(RichProgressBar() if on_terminal else EpochLines())
    if trainer.ema:
        callbacks.append(MovingAverage(trainer.ema))
    if trainer.patience:
        callbacks.append(EarlyStopping(trainer.monitor, mode=trainer.mode, patience=trainer.patience))
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


def device_of(cfg: DictConfig) -> torch.device:
    """Where a single process computes."""
    wanted = cfg.trainer.accelerator in ("auto", "gpu", "cuda")
    return torch.device("cuda" if wanted and torch.cuda.is_available() else "cpu")


def memory_format_of(cfg: DictConfig) -> torch.memory_format:
    """How images and kernels lie in memory."""
    return torch.channels_last if cfg.trainer.channels_last else torch.contiguous_format


def arrange(model: nn.Module, cfg: DictConfig) -> nn.Module:
    """The same model, its kernels laid out as the config says."""
    return model.to(memory_format=memory_format_of(cfg))  # type: ignore[call-overload,no-any-return]
