"""One training from a config to a run folder. Knows nothing of Hydra."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig
from torch import nn

from deeprob import environment
from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.batches.labelled import without_label
from deeprob.errors import InputError
from deeprob.runs import Run, sweep, write_json, write_text
from deeprob.training import signals
from deeprob.training.allocator import keep_freed_memory
from deeprob.training.callbacks import Cost
from deeprob.training.changes import check_fits
from deeprob.training.distributed import one_at_a_time, rank
from deeprob.training.experiment import device_of, make_data, make_model, make_task, newest_checkpoint
from deeprob.training.fit import Fitted, fit
from deeprob.training.loggers import JsonlLogger
from deeprob.training.lr_finder import find_learning_rate
from deeprob.training.memory import forget_peak, peak_memory
from deeprob.training.overfit import OverfitCheck, few_images, overfit_config
from deeprob.training.request import config_text
from deeprob.training.trainer import make_module, make_trainer
from deeprob.training.weights import load_pretrained


def train(cfg: DictConfig, run: Run, overrides: list[str], watchers: Sequence[pl.Callback] = ()) -> None:
    """Train what `cfg` describes, in `run`'s folder; go on from its last checkpoint where there is one.

    watchers: Lightning callbacks beside those of the config, such as one that prunes a trial.
    Writes config.yaml, overrides.txt, environment.json, metrics.jsonl, checkpoints/ and training.json.
    Raises InputError for what the config or the data get wrong, NonFiniteError when numbers leave the range,
    KeyboardInterrupt on Ctrl-C, after which the same call goes on from the last finished epoch, and
    signals.Requeued when a scheduler stops the job, after which it goes on from the step it was at.
    """
    if cfg.trainer.overfit:
        cfg = overfit_config(cfg)
    main = rank(cfg) == 0
    forget_peak()
    with run.locked() if main else nullcontext(), _log_file(run.log if main else Path(os.devnull)):
        if cfg.trainer.threads:
            torch.set_num_threads(cfg.trainer.threads)
        if main:
            for folder in (run.path, run.checkpoints, run.plots):
                sweep(folder)
            run.error.unlink(missing_ok=True)
        resume = newest_checkpoint(run)
        if main and resume is None:
            write_request(cfg, run, overrides)
        keep_freed_memory()
        pl.seed_everything(cfg.seed, verbose=False)
        data = make_data(cfg)
        _check_judged_by(cfg, data.splits)
        with one_at_a_time(run):
            data.prepare_data()
        data.setup("fit")
        torch.manual_seed(cfg.seed)  # whatever the data drew, the weights start the same
        _say_labelled(data, main)
        task = make_task(cfg, data)
        model = make_model(cfg, task)
        if isinstance(model, Fitted):
            if main:
                write_request(cfg, run, overrides)
                facts = fit(model, data, run, device_of(cfg))
                write_json(run.training, {**facts, "peak_memory_bytes": peak_memory()})
            return
        if cfg.model.pretrained and resume is None:
            report = load_pretrained(model, cfg.model.pretrained)
            _say(f"pretrained  {report}", main)
        module = make_module(cfg, model, task)
        if resume is not None:
            check_fits(module, resume)
        if cfg.trainer.lr_finder:
            rate = find_learning_rate(cfg, run, module, data)
            _say(f"lr_finder  the loss falls fastest at optim.optimizer.lr={rate:.3g}", main)
            _say(f"plot  {run.plots / 'lr_finder.png'}", main)
            return
        record = JsonlLogger(run)
        cost = Cost()
        overfit = OverfitCheck(cfg.trainer.overfit, task.headline)
        trainer = make_trainer(cfg, run, record, cost)
        if resume is not None and main:  # not before: what is refused leaves the run as it is
            write_request(cfg, run, overrides)
        if main:
            record.forget_after(0 if resume is None else resume.step)
        trainer.callbacks += [*watchers, *([overfit] if cfg.trainer.overfit else [])]  # type: ignore[attr-defined]
        samples: dict[str, Any] = {"datamodule": data}
        if cfg.trainer.overfit:
            samples = few_images(data, cfg.trainer.overfit, cfg.seed)
        try:
            with signals.held():
                trainer.fit(module, **samples, ckpt_path=None if resume is None else str(resume.path))
        except signals.Requeued:
            raise
        except SystemExit:  # Lightning's answer to Ctrl-C, and to a SIGTERM before the first step
            raise (signals.Requeued() if signals.warned() else KeyboardInterrupt()) from None
        except Exception as error:
            # A logger's service may be stopped by the same signal, and the logger fails while we leave.
            leaving = isinstance(error, ConnectionError) or isinstance(error.__context__, signals.Requeued)
            if signals.warned() and leaving:
                raise signals.Requeued from None
            raise
        if main:
            write_json(run.training, _training_facts(trainer, data, model, cost))
        if cfg.trainer.overfit:
            _say(overfit.verdict(trainer.global_step), main)


def write_request(cfg: DictConfig, run: Run, overrides: list[str]) -> None:
    """Write down what was asked for, and where it runs."""
    write_text(run.config, config_text(cfg))
    write_text(run.overrides, "".join(f"{line}\n" for line in overrides))
    write_json(run.environment, environment.describe())


def _check_judged_by(cfg: DictConfig, splits: Sequence[str]) -> None:
    """Raise InputError before an hour is spent, where what the run is judged by is not there."""
    wanted = cfg.evaluation.split
    if wanted not in splits and not (cfg.trainer.overfit or cfg.trainer.lr_finder):
        raise InputError(
            f"no split {wanted!r} to judge the run by",
            where="evaluation.split",
            expected=" or ".join(splits),
            fix=f"set evaluation.split={splits[-1]}",
        )


def _say(line: str, main: bool) -> None:
    if main:
        print(line, flush=True)


def _say_labelled(data: PerceptionData, main: bool) -> None:
    """Say how many samples have labels, where it is not all of them, and which classes have none."""
    if data.labelled_share == 1:
        return
    samples = data.split("train")
    line = f"labelled  {len(data.labelled):,} of {len(samples):,} training samples"
    lost = without_label(samples, data.labelled, data.classes)
    _say(f"{line}; no label of {', '.join(lost)}" if lost else line, main)


def _training_facts(
    trainer: pl.Trainer, data: PerceptionData, model: nn.Module, cost: Cost
) -> dict[str, Any]:
    return {
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "stopped_early": bool(trainer.should_stop) and trainer.current_epoch < (trainer.max_epochs or 0),
        "train_seconds": cost.seconds,
        "samples_per_second": cost.samples / cost.seconds if cost.seconds else None,
        "peak_memory_bytes": peak_memory(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "flops_per_sample": count_flops(model, data.example()),
        "device": str(trainer.strategy.root_device),
    }


def count_flops(model: nn.Module, sample: torch.Tensor) -> int:
    """Floating-point operations of one forward pass over `sample`, a multiply-add counted as two."""
    from deeprob.graphs.flops import FlopCounter

    training = model.training
    device = next(model.parameters()).device
    with FlopCounter() as counter, torch.no_grad(), torch.compiler.set_stance("force_eager"):
        model.eval()(sample.to(device))
    model.train(training)
    return int(counter.get_total_flops())


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Send the libraries' log lines and warnings to log.txt; the terminal keeps what the user asked for."""
    handler = logging.FileHandler(path, mode="a", encoding="utf-8", delay=True)
    handler.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk ends no training here
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
