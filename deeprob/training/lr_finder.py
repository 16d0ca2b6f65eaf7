"""The learning-rate range test: the rate grows exponentially, step by step, until the loss diverges.

Source: Smith, Cyclical learning rates for training neural networks (2017), section 3.3. The suggestion is the
rate at which the smoothed loss falls fastest, over the logarithm of the rate. (Lightning's own finder gives
all parameter groups one rate: a body slower than its head would be tested as fast as it.)
"""

from __future__ import annotations

import contextlib
import math
import warnings
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from deeprob.errors import InputError
from deeprob.runs import Run
from deeprob.training.finite import NonFiniteError
from deeprob.training.lightning_data import LightningData
from deeprob.training.parts import Parts
from deeprob.training.trainer import start, step_options
from deeprob.writing import write_json

LOWEST, HIGHEST = 1e-7, 10.0
SMOOTHING = 0.9  # of the loss, as a moving average
DIVERGED = 4.0  # times the smallest loss so far
SKIPPED = 5  # first steps, whose moving average knows too little


class RangeTest(Callback):
    """Sets the learning rate before each step, takes down the smoothed loss after it, stops at divergence."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._factors: list[float] = []
        self._average = 0.0

    @property
    def diverged(self) -> bool:
        """Whether the last loss is far above the smallest."""
        return len(self.losses) > SKIPPED and self.losses[-1] > DIVERGED * min(self.losses)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rates = [group["initial_lr"] for group in trainer.optimizers[0].param_groups]
        self._factors = [rate / max(rates) for rate in rates]

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        rate = LOWEST * (HIGHEST / LOWEST) ** (trainer.global_step / max(self.steps - 1, 1))
        for group, factor in zip(trainer.optimizers[0].param_groups, self._factors, strict=True):
            group["lr"] = rate * factor
        if len(self.rates) == trainer.global_step:
            self.rates.append(rate)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step == len(self.losses):  # a batch whose gradient is still being added up
            return
        loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
        self._average = SMOOTHING * self._average + (1 - SMOOTHING) * loss
        self.losses.append(self._average / (1 - SMOOTHING**step))
        trainer.should_stop = trainer.should_stop or self.diverged


def find_lr(parts: Parts, run: Run) -> float:
    """Run the test over parts.trainer.lr_finder steps, which spend the weights; returns the suggestion.

    Writes lr_finder.json and plots/lr_finder.png and nothing else: a training in the same folder starts from
    the beginning. Raises InputError where the loss never falls.
    """
    module, _ = start(parts, run)
    test = RangeTest(parts.trainer.lr_finder)
    trainer = pl.Trainer(
        max_epochs=-1,
        max_steps=test.steps,
        limit_val_batches=0,
        callbacks=[test],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=run.path,
        **step_options(parts.trainer),
    )
    with contextlib.suppress(NonFiniteError):  # it diverged from one step to the next
        trainer.fit(module, datamodule=LightningData(parts.data))
    count = len(test.losses)
    rates = np.array(test.rates[:count])
    losses = np.array(test.losses)
    suggestion = steepest(rates, losses)
    if trainer.is_global_zero:
        record = {"suggestion": suggestion, "lr": rates.tolist(), "loss": losses.tolist()}
        write_json(run.path / "lr_finder.json", record)
        _draw(run, rates, losses, suggestion)
        print(f"lr_finder  the loss falls fastest at optim.optimizer.lr={suggestion:.3g}", flush=True)
        print(f"plot  {run.plots / 'lr_finder.png'}", flush=True)
    return suggestion


def steepest(rates: Any, losses: Any) -> float:
    """The rate where the loss falls fastest over log(rate), from the first steps to the smallest loss.

    Raises InputError where it does not fall.
    """
    end = int(np.argmin(losses)) + 1 if len(losses) else 0
    fall = -np.diff(losses[SKIPPED:end])
    if not len(fall) or not math.isfinite(fall.max()) or fall.max() <= 0:
        raise InputError(
            "the loss falls at no learning rate",
            fix="take more steps: trainer.lr_finder=300; or check the data",
        )
    return float(rates[SKIPPED + int(np.argmax(fall))])


def _draw(run: Run, rates: Any, losses: Any, suggestion: float) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
        axes.plot(rates, losses, color="#2a7f62")
        axes.axvline(suggestion, color="#c8553d", label=f"steepest fall: {suggestion:.3g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="smoothed training loss")
        axes.set_ylim(top=1.2 * max(losses[: max(SKIPPED, 1)].max(), losses[0]))
        axes.legend()
        run.plots.mkdir(exist_ok=True)
        figure.savefig(run.plots / "lr_finder.png", dpi=130)
        plt.close(figure)
