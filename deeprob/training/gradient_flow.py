"""The flow of activations and gradients while training, sampled into the run folder."""

from __future__ import annotations

import json
from collections import Counter
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from deeprob.graphs.flow import flow_of
from deeprob.graphs.history import FILE
from deeprob.training.loggers import JsonlLogger
from deeprob.writing import append_line


class GradientFlow(Callback):
    """Every so many steps, the norm of each layer's output and of the loss's gradient with respect to it.

    Appends {"step", "layers": {name: {"activation", "gradient", "dead", "saturated"}}} to gradient_flow.jsonl
    in the run folder, and logs the same numbers to W&B or another extra logger. Between two samples the model
    runs without hooks; a compiled one runs its sampled steps uncompiled. Under several processes the first
    one's share of the batch is what is seen.
    """

    def __init__(self, every: int = 50) -> None:
        if every < 1:
            raise ValueError(f"every: expected a number of steps from 1, got {every}")
        self.every = every
        self._handles: list[Any] = []
        self._seen: dict[str, dict[str, Any]] = {}
        self._step = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._forget()
        self._step = trainer.global_step
        if self._step % self.every or not trainer.is_global_zero:
            return
        torch.compiler.set_stance("force_eager")  # a compiled graph does not see hooks
        calls: Counter[str] = Counter()
        model = getattr(pl_module, "model", pl_module)
        for name, module in model.named_modules():
            if not any(module.children()):
                label = name or type(module).__name__
                self._handles.append(module.register_forward_hook(self._watch(label, calls)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._seen:
            return
        seen = {
            name: {key: float(value) for key, value in numbers.items()}
            for name, numbers in self._seen.items()
        }
        self._forget()
        finite = {n: {k: v if isfinite(v) else None for k, v in row.items()} for n, row in seen.items()}
        row = json.dumps({"step": self._step, "layers": finite})
        append_line(Path(trainer.default_root_dir) / FILE, row)
        metrics = {
            f"gradient_flow/{key}/{name}": value
            for name, numbers in seen.items()
            for key, value in numbers.items()
        }
        for logger in trainer.loggers:
            if not isinstance(logger, JsonlLogger):  # metrics.jsonl would drown in them
                logger.log_metrics(metrics, step=self._step)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._forget()

    def _watch(self, name: str, calls: Counter[str]) -> Any:
        def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or not output.requires_grad or not output.is_floating_point():
                return
            calls[name] += 1
            label = name if calls[name] == 1 else f"{name}:{calls[name]}"
            flow = flow_of(output, type(module).__name__)
            numbers: dict[str, Any] = {"activation": flow.norm}
            if flow.dead is not None:
                numbers["dead"] = flow.dead
            if flow.saturated is not None:
                numbers["saturated"] = flow.saturated
            self._seen[label] = numbers
            # stays on the device until the step is over
            output.register_hook(lambda dy: numbers.__setitem__("gradient", dy.detach().norm()))  # type: ignore[no-untyped-call]

        return hook

    def _forget(self) -> None:
        if self._handles:
            torch.compiler.set_stance("default")
        for handle in self._handles:
            handle.remove()
        self._handles, self._seen = [], {}
