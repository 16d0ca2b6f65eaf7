"""The callback that streams a trial's validation metric to the study and prunes unpromising trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning.pytorch import Callback, LightningModule, Trainer

if TYPE_CHECKING:
    from optuna.trial import Trial


class Watch(Callback):
    """Reports `metric` after every epoch, averaged with the values of the folds before; stops on pruning.

    pruned_at: the epoch after which the pruner ended the trial, None while it goes on.
    """

    def __init__(self, trial: Trial, metric: str, before: Sequence[float], first_step: int) -> None:
        self.trial, self.metric, self.before, self.first_step = trial, metric, before, first_step
        self.pruned_at: int | None = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        value = trainer.callback_metrics.get(self.metric)
        if value is None or not math.isfinite(float(value)):
            return
        step = self.first_step + trainer.current_epoch
        self.trial.report((sum(self.before) + float(value)) / (len(self.before) + 1), step)
        last = trainer.current_epoch + 1 >= (trainer.max_epochs or 0)  # its value is known: nothing to save
        if not last and self.trial.should_prune():
            self.pruned_at = step
            trainer.should_stop = True
