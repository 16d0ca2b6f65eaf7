"""One training from a config to a run folder. Knows nothing of Hydra."""

from __future__ import annotations

import logging
import resource
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from deeprob import environment
from deeprob.data.datamodule import PerceptionData
from deeprob.runs import Run, write_json, write_text
from deeprob.training import signals
from deeprob.training.callbacks import Cost
from deeprob.training.loggers import JsonlLogger
from deeprob.training.restore import newest_checkpoint
from deeprob.training.trainer import make_data, make_model, make_module, make_trainer


def train(cfg: DictConfig, run: Run, overrides: list[str], watchers: Sequence[pl.Callback] = ()) -> None:
    """Train what `cfg` describes, in `run`'s folder; go on from its last checkpoint where there is one.

    watchers: Lightning callbacks beside those of the config, such as one that ends a hopeless trial.
    Writes config.yaml, overrides.txt, environment.json, metrics.jsonl, checkpoints/ and training.json.
    Raises InputError for what the config or the data get wrong, NonFiniteError when numbers leave the range,
    KeyboardInterrupt on Ctrl-C, after which the same call goes on from the last finished epoch, and
    signals.Requeued when a scheduler stops the job, after which it goes on from the step it was at.
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
        resume = newest_checkpoint(run)
        record = JsonlLogger(run)
        if resume is not None:
            record.forget_after(resume.step)
        cost = Cost()
        trainer = make_trainer(cfg, run, record, cost)
        trainer.callbacks += watchers  # type: ignore[attr-defined]
        try:
            with signals.held():
                trainer.fit(module, datamodule=data, ckpt_path=None if resume is None else str(resume.path))
        except signals.Requeued:
            raise
        except SystemExit:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from None
        write_json(run.training, _training_facts(trainer, data, model, cost))


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
