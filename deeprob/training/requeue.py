"""When Lightning may save and requeue, and what it does not save itself.

Lightning's handler of SIGUSR1 saves `hpc_ckpt_<n>.ckpt` into the run folder and calls `scontrol requeue`.
It is called here, between two steps of an epoch, where the weights, the optimiser, the loader and the random
state belong together; the training then ends bit by bit as if it had not been interrupted. Where Lightning
has no handler (processes that torchrun started) or must not requeue (SIGTERM may be a user's cancel), the
same file is written and the job script decides.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any, NoReturn

from lightning.pytorch import Callback, LightningModule, Trainer

from deeprob.runs import Run
from deeprob.training import signals
from deeprob.writing import append_line


class Requeue(Callback):
    """Lets Lightning's requeue act between two steps, then ends the process; notes every start of the run.

    attempts.jsonl gets a line a start: {"time", "step", "total_steps", "job", "restart"}.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._leaving = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        signals.take_termination()  # Lightning's own way would end the run
        # Lightning made the loader when the schedule asked for the number of steps, before it had read the
        # checkpoint, and forgot to tell it where the epoch was.
        trainer.fit_loop._load_combined_loader_states()
        if not trainer.is_global_zero:
            return
        start = {
            "time": round(time.time(), 3),
            "step": trainer.global_step,
            "total_steps": int(trainer.estimated_stepping_batches),
            "job": os.environ.get("SLURM_JOB_ID"),
            "restart": int(os.environ.get("SLURM_RESTART_COUNT", 0)),
        }
        append_line(self.run.attempts, json.dumps(start))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Between two epochs last.ckpt holds everything: nothing needs to be saved."""
        if trainer.current_epoch > 0:
            self._forget_requeues(trainer)
            if self._warned(trainer):
                self._leave(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._leaving:  # one hook after the saving: by now the step's row is in metrics.jsonl
            self._leave(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # After the epoch's last batch Lightning could not take up the validation that follows.
        last = batch_idx + 1 >= trainer.num_training_batches
        if self._leaving or last or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        if self._warned(trainer):
            save_and_requeue = signal.getsignal(signal.SIGUSR1)
            if callable(save_and_requeue) and not signals.terminated():
                save_and_requeue(signal.SIGUSR1, None)
            else:
                trainer.save_checkpoint(trainer._checkpoint_connector.hpc_save_path(str(self.run.path)))
            self._leaving = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._forget_requeues(trainer)

    def _warned(self, trainer: Trainer) -> bool:
        """Whether any process of the training was warned: all leave at the same step."""
        if trainer.world_size == 1:
            return signals.warned()
        return trainer.strategy.reduce_boolean_decision(signals.warned(), all=False)

    def _leave(self, trainer: Trainer) -> NoReturn:
        """Leave together: a launcher ends the others when the first is gone."""
        trainer.strategy.barrier()
        raise signals.Requeued

    def _forget_requeues(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            for path in self.run.requeue_checkpoints:
                path.unlink()
