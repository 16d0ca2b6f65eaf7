"""Exponential moving average of the weights, which validation and evaluation use."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class MovingAverage(WeightAveraging):
    """After step n, average = d average + (1 - d) weights, with d = min(decay, (1 + n) / (10 + n)).

    Without the second term a short training would be judged by its random start, which an average of decay
    0.999 forgets only after thousands of steps (as in TensorFlow's ExponentialMovingAverage). Parameters and
    floating-point buffers are averaged, counters copied. A checkpoint's "state_dict" holds the average, its
    "current_model_state" the weights that training goes on with.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        super().__init__(multi_avg_fn=self._average)

    @torch.no_grad()
    def _average(self, averages: Sequence[Tensor], current: Sequence[Tensor], step: Tensor) -> None:
        n = int(step)
        decay = min(self.decay, (1 + n) / (10 + n))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(list(averages), list(current), 1 - decay)
        else:
            for average, now in zip(averages, current, strict=True):
                average.copy_(now)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._average_model is not None:  # it was made before the model went to its device
            self._average_model.to(pl_module.device)
