"""The first check of a new network: it must overfit a handful of samples.

A network that cannot has a bug in its wiring, its loss or its learning rate.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from deeprob.data.batches.datamodule import PerceptionData
from deeprob.data.batches.loader import BatchLoader
from deeprob.errors import InputError

STEPS = 1000  # at most
STEPS_AN_EPOCH = 10  # between two validations
PERFECT = 1 - 1e-9  # a mean of ones need not be 1 to the last bit


def overfit_config(cfg: DictConfig) -> DictConfig:
    """The config with nothing that keeps a network from overfitting, and STEPS steps at most.

    Raises InputError for several processes: a handful of images needs one.
    """
    if cfg.trainer.devices * cfg.trainer.num_nodes > 1:
        raise InputError("trainer.overfit is for one process", fix="set trainer.devices=1")
    cfg = cfg.copy()
    for key, value in unhindered().items():
        cfg.trainer[key] = value
    return cfg


def unhindered() -> dict[str, Any]:
    """Settings of a trainer that keep nothing from overfitting, by what the task itself looks at."""
    counted = {"max_epochs": STEPS // STEPS_AN_EPOCH, "val_every": 1, "monitor": None, "mode": "max"}
    return {**counted, "patience": 0, "ema": 0.0}


def few_images(data: PerceptionData, count: int, seed: int) -> dict[str, Any]:
    """Loaders, as Trainer.fit takes them, of `count` training images drawn by `seed`, without augmentation.

    They come as often in an epoch as fills its steps. Validation is on the same images.
    """
    whole = data.split("train")
    chosen = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))[:count]
    wanted = max(STEPS_AN_EPOCH * data.batch_size, len(chosen))
    train = BatchLoader(
        whole.take(chosen.repeat(-(-wanted // len(chosen)))[:wanted]),
        data.batch_size,
        data.view.collate(data.mean, data.std),
        shuffle=True,
        drop_last=True,
        seed=seed,
    )
    return {"train_dataloaders": train, "val_dataloaders": data.loader_of(whole.take(chosen))}


class OverfitCheck(Callback):
    """Stops the training when a metric of the task, outside training mode, is as good as it is to become.

    metric: its name; goal: its value then; count: of samples.
    """

    def __init__(self, count: int, metric: str, goal: float = PERFECT) -> None:
        self.count, self.metric, self.goal = count, metric, goal
        self.best = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict.get("best", state_dict.get("accuracy", 0.0))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.best = max(self.best, float(trainer.callback_metrics[f"val/{self.metric}"]))
        trainer.should_stop = trainer.should_stop or self.best >= self.goal

    def verdict(self, steps: int) -> str:
        """One line. Raises NotOverfitError where the metric stayed below its goal."""
        line = f"overfit  {self.metric} {self.best:.4f} on {self.count} training samples after {steps} steps"
        if self.best < self.goal:
            raise NotOverfitError(line)
        return line


class NotOverfitError(RuntimeError):
    """A network did not overfit a handful of samples."""
