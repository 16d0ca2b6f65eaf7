"""One training from a config to a run folder, and a run folder back to a model. Knows nothing of Hydra."""

from __future__ import annotations

import logging
import pickle
import resource
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from rich.progress import Progress
from torch import nn

from deeprob import environment
from deeprob.config import build
from deeprob.data.datamodule import PerceptionData
from deeprob.data.loader import BatchLoader
from deeprob.data.relabel import RelabelledSource
from deeprob.data.settings import Augmentation
from deeprob.errors import InputError
from deeprob.runs import Run, write_json, write_text
from deeprob.training.callbacks import AtomicCheckpointIO, Cost, EpochLines, RandomState
from deeprob.training.loggers import JsonlLogger
from deeprob.training.module import PerceptionModule


@dataclass(frozen=True)
class Experiment:
    """A trained model with the data it was trained on, as a run folder describes them."""

    cfg: DictConfig
    data: PerceptionData
    model: nn.Module
    device: torch.device

    def predict(self, split: str, progress: bool = True) -> NDArray[np.float32]:
        """Logits float32 (N, C) of a split, in its order. Raises InputError for an unknown split."""
        return self.predict_batches(self.data.loader(split), f"evaluating {split}", progress)

    def predict_batches(
        self, loader: BatchLoader, description: str, progress: bool = True
    ) -> NDArray[np.float32]:
        """Logits float32 (N, C) of all batches of a loader, in their order."""
        logits = []
        self.model.eval()
        with Progress(transient=True, disable=not progress) as bar, torch.inference_mode():
            for batch in bar.track(loader, total=len(loader), description=description):
                images = batch.images.to(self.device, memory_format=_memory_format(self.cfg))
                logits.append(self.model(images).float().cpu().numpy())
        return np.concatenate(logits)


def train(cfg: DictConfig, run: Run, overrides: list[str]) -> None:
    """Train what `cfg` describes, in `run`'s folder; go on from its last checkpoint where there is one.

    Writes config.yaml, overrides.txt, environment.json, metrics.jsonl, checkpoints/ and training.json.
    Raises InputError for what the config or the data get wrong, NonFiniteError when numbers leave the range,
    KeyboardInterrupt on Ctrl-C, after which the same call goes on from the last finished epoch.
    """
    with run.locked(), _log_file(run.log):
        run.error.unlink(missing_ok=True)
        if cfg.trainer.threads:
            torch.set_num_threads(cfg.trainer.threads)
        pl.seed_everything(cfg.seed, verbose=False)
        write_text(run.config, OmegaConf.to_yaml(_without_permissions(cfg), resolve=True))
        write_text(run.overrides, "".join(f"{line}\n" for line in overrides))
        write_json(run.environment, environment.describe())
        data = make_data(cfg)
        data.prepare_data()
        data.setup("fit")
        torch.manual_seed(cfg.seed)  # whatever the data drew, the weights start the same
        model = make_model(cfg, data)
        module = make_module(cfg, model)
        resume = run.checkpoint("last") if run.checkpoint("last").is_file() else None
        record = JsonlLogger(run)
        if resume is not None:
            record.forget_after(_read_checkpoint(resume)["global_step"])
        cost = Cost()
        trainer = make_trainer(cfg, run, record, cost)
        try:
            trainer.fit(module, datamodule=data, ckpt_path=None if resume is None else str(resume))
        except SystemExit:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from None
        write_json(run.training, _training_facts(trainer, data, model, cost))


def load(run: Run, checkpoint: str, allowed: list[str] | None = None) -> Experiment:
    """The model and data of a run folder. checkpoint: `best` or `last`.

    Raises InputError where the folder lacks the checkpoint, or its weights do not fit its config.
    """
    cfg = read_config(run)
    if allowed:
        cfg.allowed_targets = allowed
    path = run.checkpoint(checkpoint)
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in run.checkpoints.glob("*.ckpt"))) or "none yet"
        raise InputError(f"no checkpoint {checkpoint!r}", where=run.path, expected=f"one of: {there}")
    data = make_data(cfg)
    data.prepare_data()
    data.setup("fit")
    model = make_model(cfg, data)
    weights = {k.removeprefix("model."): v for k, v in _read_checkpoint(path)["state_dict"].items()}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"weights do not fit the run's config ({error})", where=path) from error
    device = torch.device("cuda" if _wants_cuda(cfg) else "cpu")
    return Experiment(cfg, data, _arrange(model.to(device), cfg).eval(), device)


def read_config(run: Run) -> DictConfig:
    """config.yaml of a run folder; no key can be added. Raises InputError where it is not readable YAML."""
    try:
        cfg = OmegaConf.load(run.config)
    except Exception as error:  # the YAML reader has a family of errors of its own
        raise InputError(f"not a readable config ({error})", where=run.config) from error
    if not isinstance(cfg, DictConfig) or "data" not in cfg or "model" not in cfg:
        raise InputError("not the config of a training", where=run.config, expected="keys data, model, ...")
    cfg.allowed_targets = []  # a file must not let in its own code
    OmegaConf.set_struct(cfg, True)
    return cfg


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, tensors and plain containers only: one that would run code is refused."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        content["state_dict"], content["global_step"]
    except (RuntimeError, EOFError, KeyError, TypeError, OSError, pickle.UnpicklingError) as error:
        reason = next(
            (line for line in str(error).splitlines() if "GLOBAL" in line), str(error).split("\n")[0]
        )
        raise InputError(f"checkpoint cannot be read ({reason})", where=path) from error
    return cast("dict[str, Any]", content)


def make_data(cfg: DictConfig) -> PerceptionData:
    """The data module of a config; nothing is read or rendered yet."""
    data = cfg.data
    source = build(data.source, cfg.allowed_targets)
    if data.label_map:
        source = RelabelledSource(source, data.label_map)
    return PerceptionData(
        source=source,
        view=build(data.view, cfg.allowed_targets),
        augmentation=Augmentation(**OmegaConf.to_container(data.augmentation)),  # type: ignore[arg-type]
        batch_size=data.batch_size,
        eval_batch_size=data.eval_batch_size,
        num_workers=data.workers,
        seed=cfg.seed,
        cache_dir=Path(cfg.paths.cache_dir) / "crops",
        val_fraction=data.val_fraction,
        num_folds=data.num_folds,
        fold=data.fold,
        balanced=data.balanced,
        progress=sys.stdout.isatty(),
    )


def make_model(cfg: DictConfig, data: PerceptionData) -> nn.Module:
    """The model of a config, with as many outputs as the data has classes."""
    model: nn.Module = build(cfg.model, cfg.allowed_targets, num_classes=len(data.classes))
    return model


def make_module(cfg: DictConfig, model: nn.Module) -> PerceptionModule:
    """The Lightning module that trains `model` as the config says."""
    return PerceptionModule(
        _arrange(model, cfg),
        objective=build(cfg.objective, cfg.allowed_targets),
        optimizer=lambda groups: build(cfg.optim.optimizer, cfg.allowed_targets, params=groups),
        schedule=build(cfg.optim.schedule, cfg.allowed_targets),
        decay_norm_and_bias=cfg.optim.decay_norm_and_bias,
        memory_format=_memory_format(cfg),
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
    if trainer.patience:
        callbacks.append(EarlyStopping(trainer.monitor, mode=trainer.mode, patience=trainer.patience))
    callbacks += [build(leaf, cfg.allowed_targets) for leaf in (cfg.get("callbacks") or {}).values()]
    loggers = [record]
    if cfg.logger is not None:
        loggers.append(_extra_logger(cfg, run))
    return pl.Trainer(
        max_epochs=trainer.max_epochs,
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        precision=trainer.precision,
        gradient_clip_val=trainer.gradient_clip_val,
        log_every_n_steps=trainer.log_every,
        callbacks=callbacks,
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=run.path,
        enable_progress_bar=on_terminal,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


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


def _training_facts(
    trainer: pl.Trainer, data: PerceptionData, model: nn.Module, cost: Cost
) -> dict[str, Any]:
    sample = data.split("train").images[:1].permute(0, 3, 1, 2).float()
    return {
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "stopped_early": bool(trainer.should_stop) and trainer.current_epoch < (trainer.max_epochs or 0),
        "train_seconds": cost.seconds,
        "samples_per_second": cost.samples / cost.seconds if cost.seconds else None,
        "peak_memory_bytes": _peak_memory(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "flops_per_sample": count_flops(model, sample),
        "device": str(trainer.strategy.root_device),
    }


def count_flops(model: nn.Module, sample: torch.Tensor) -> int:
    """Floating-point operations of one forward pass over `sample`, a multiply-add counted as two."""
    from torch.utils.flop_counter import FlopCounterMode

    from deeprob.graphs.trace import UNCOUNTED_FLOPS

    training = model.training
    device = next(model.parameters()).device
    counter = FlopCounterMode(display=False, custom_mapping=UNCOUNTED_FLOPS)
    with counter, torch.no_grad():
        model.eval()(sample.to(device))
    model.train(training)
    return int(counter.get_total_flops())


def _peak_memory() -> int:
    """The GPU's allocator peak where one was used, else the process's largest resident size."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _memory_format(cfg: DictConfig) -> torch.memory_format:
    return torch.channels_last if cfg.trainer.channels_last else torch.contiguous_format


def _arrange(model: nn.Module, cfg: DictConfig) -> nn.Module:
    return model.to(memory_format=_memory_format(cfg))  # type: ignore[call-overload,no-any-return]


def _wants_cuda(cfg: DictConfig) -> bool:
    return torch.cuda.is_available() and cfg.trainer.accelerator in ("auto", "gpu", "cuda")


def _without_permissions(cfg: DictConfig) -> DictConfig:
    kept = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert isinstance(kept, DictConfig)
    kept.allowed_targets = []
    return kept


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Send the libraries' log lines and warnings to log.txt; the terminal keeps what the user asked for."""
    handler = logging.FileHandler(path, mode="a", encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    names = ("lightning.pytorch", "lightning.fabric", "py.warnings", "deeprob")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]
    logging.captureWarnings(True)
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            yield
    finally:
        logging.captureWarnings(False)
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()
