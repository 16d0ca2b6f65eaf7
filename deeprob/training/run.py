"""One training from a config to a run folder: where a config is spent. Knows nothing of Hydra."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig

from deeprob import environment
from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.batches.labelled import without_label
from deeprob.data.known import facts_of
from deeprob.runs import Run
from deeprob.tasks.base import Task
from deeprob.training.allocator import keep_freed_memory
from deeprob.training.distributed import one_at_a_time, rank
from deeprob.training.experiment import assemble, newest_checkpoint
from deeprob.training.fit import Fitted, fit_classical
from deeprob.training.lr_finder import find_lr
from deeprob.training.memory import forget_peak
from deeprob.training.overfit import overfit_config
from deeprob.training.request import config_text
from deeprob.training.train import check_overfit, train
from deeprob.writing import sweep, write_json, write_text


def train_run(cfg: DictConfig, run: Run, overrides: list[str], watchers: Sequence[pl.Callback] = ()) -> None:
    """Train what `cfg` describes, in `run`'s folder; go on from its last checkpoint where there is one.

    Writes config.yaml, overrides.txt, environment.json and data.json beside what `train` writes. Raises what
    it raises, and InputError for what the config or the data get wrong.
    """
    if cfg.trainer.overfit:
        cfg = overfit_config(cfg)
    main = rank(cfg.trainer) == 0
    forget_peak()

    def request() -> None:
        if main:
            write_request(cfg, run, overrides)

    with run.locked() if main else nullcontext(), _log_file(run.log if main else Path(os.devnull)):
        if cfg.trainer.threads > 0:
            torch.set_num_threads(cfg.trainer.threads)
        if main:
            for folder in (run.path, run.checkpoints, run.plots):
                sweep(folder)
            run.error.unlink(missing_ok=True)
        fresh = newest_checkpoint(run) is None
        if fresh:
            request()
        keep_freed_memory()
        parts = assemble(cfg, one_at_a_time(run))

        def accepted() -> None:
            request()
            if main:
                write_facts(run, parts.data, parts.task)

        if fresh and main:
            write_facts(run, parts.data, parts.task)
        if main and parts.data.labelled_share < 1:
            print(_labelled(parts.data), flush=True)
        if isinstance(parts.model, Fitted):
            if main:
                accepted()
                fit_classical(parts, run)
        elif cfg.trainer.lr_finder:
            find_lr(parts, run)
        elif cfg.trainer.overfit:
            print(check_overfit(parts, run, accepted), flush=True)
        else:
            train(parts, run, watchers, accepted)


def write_request(cfg: DictConfig, run: Run, overrides: list[str]) -> None:
    """Write down what was asked for, and where it runs."""
    write_text(run.config, config_text(cfg))
    write_text(run.overrides, "".join(f"{line}\n" for line in overrides))
    write_json(run.environment, environment.describe())


def write_facts(run: Run, data: PerceptionData, task: Task) -> None:
    """Write data.json: what the model needs of its data once it is trained."""
    facts, arguments = facts_of(data), task.model_arguments()
    if all(isinstance(value, int | float | str | None) for value in arguments.values()):
        facts["model"] = arguments  # else the data set itself is needed to make the model
    write_json(run.data, facts)


def _labelled(data: PerceptionData) -> str:
    """Say how many samples have labels, and which classes have none."""
    samples = data.split("train")
    line = f"labelled  {len(data.labelled):,} of {len(samples):,} training samples"
    lost = without_label(samples, data.labelled, data.classes)
    return f"{line}; no label of {', '.join(lost)}" if lost else line


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
