"""A training of parts into a run folder. Knows nothing of Hydra, nor of configs."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.errors import InputError
from deeprob.graphs.flops import FlopCounter
from deeprob.runs import Run
from deeprob.training import signals
from deeprob.training.callbacks import Cost
from deeprob.training.changes import NEW_RUN
from deeprob.training.distributed import rank
from deeprob.training.lightning_data import LightningData
from deeprob.training.loggers import JsonlLogger
from deeprob.training.memory import peak_memory
from deeprob.training.overfit import PERFECT, OverfitCheck, few_images
from deeprob.training.parts import Parts
from deeprob.training.trainer import make_trainer, start
from deeprob.writing import write_json

DAMAGE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError)


def train(
    parts: Parts,
    run: Run,
    watchers: Sequence[pl.Callback] = (),
    accepted: Callable[[], None] | None = None,
) -> None:
    """Train in `run`'s folder; go on from its last checkpoint where there is one.

    watchers: further Lightning callbacks, such as one that prunes a trial. accepted: called when nothing can
    be refused any more, before the first step. Writes metrics.jsonl, checkpoints/ and training.json.
    Raises InputError where the checkpoint does not fit, NonFiniteError when numbers leave the range,
    KeyboardInterrupt on Ctrl-C, after which the same call goes on from the last finished epoch, and
    signals.Requeued when a scheduler stops the job, after which it goes on from the step it was at.
    """
    _fit(parts, run, watchers, accepted, {"datamodule": LightningData(parts.data)})


def check_overfit(parts: Parts, run: Run, accepted: Callable[[], None] | None = None) -> str:
    """Overfit parts.trainer.overfit samples; returns one line that says so. Raises NotOverfitError.

    The settings of the trainer should keep nothing from it: see overfit.unhindered.
    """
    if not getattr(parts.objective, "needs_labels", True):
        raise InputError(
            f"{type(parts.objective).__name__} learns no labels to overfit",
            where="trainer.overfit",
            fix="train it as it is; metrics.jsonl tells of a collapse",
        )
    check = OverfitCheck(parts.trainer.overfit, *(parts.task.overfit_at or (parts.task.headline, PERFECT)))
    samples = few_images(parts.data, parts.trainer.overfit, parts.seed)
    trainer = _fit(parts, run, [check], accepted, samples)
    return check.verdict(trainer.global_step)


def _fit(
    parts: Parts,
    run: Run,
    watchers: Sequence[pl.Callback],
    accepted: Callable[[], None] | None,
    samples: Mapping[str, Any],
) -> pl.Trainer:
    module, resume = start(parts, run)
    record, cost = JsonlLogger(run), Cost()
    trainer = make_trainer(parts, run, record, cost)
    if accepted is not None:
        accepted()
    if rank(parts.trainer) == 0:
        record.forget_after(0 if resume is None else resume.step)
    trainer.callbacks += watchers  # type: ignore[attr-defined]
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
        if resume is not None and _restoring(error):
            what = f"its training cannot go on: an entry is damaged ({type(error).__name__}: {error})"
            raise InputError(" ".join(what.split()), where=resume.path, fix=NEW_RUN) from error
        raise
    if rank(parts.trainer) == 0:
        write_json(run.training, _training_facts(trainer, parts.data, parts.model, cost))
    return trainer


def _restoring(error: Exception) -> bool:
    """Whether it came up where Lightning puts back what a checkpoint holds."""
    frames = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return isinstance(error, DAMAGE) and any(name.endswith("checkpoint_connector") for name in frames)


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
    training = model.training
    device = next(model.parameters()).device
    with FlopCounter() as counter, torch.no_grad(), torch.compiler.set_stance("force_eager"):
        model.eval()(sample.to(device))
    model.train(training)
    return int(counter.get_total_flops())
